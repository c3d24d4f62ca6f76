//! As much of ELF as tells a static program from one that needs a dynamic linker.

/// A program header that names the dynamic linker.
const PT_INTERP: u32 = 3;

/// Whether the 64-bit little-endian program runs without shared libraries.
pub fn is_static(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF\x02\x01")
        && program_headers(image).is_some_and(|types| !types.contains(&PT_INTERP))
}

/// The types of the program headers, or nothing if the file is cut short.
fn program_headers(image: &[u8]) -> Option<Vec<u32>> {
    let offset = usize::try_from(u64::from_le_bytes(bytes(image, 0x20)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes(image, 0x36)?));
    let count = usize::from(u16::from_le_bytes(bytes(image, 0x38)?));
    (0..count)
        .map(|index| Some(u32::from_le_bytes(bytes(image, offset.checked_add(index * size)?)?)))
        .collect()
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(types: &[u32]) -> Vec<u8> {
        let mut image = vec![0; 0x40];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[0x20] = 0x40;
        image[0x36] = 56;
        image[0x38] = types.len() as u8;
        for kind in types {
            image.extend(kind.to_le_bytes());
            image.extend([0; 52]);
        }
        image
    }

    #[test]
    fn only_a_program_without_interpreter_is_static() {
        assert!(is_static(&program(&[6, 1, 1])));
        assert!(!is_static(&program(&[6, PT_INTERP, 1])));
    }

    #[test]
    fn what_is_no_whole_elf_file_is_not_static() {
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&program(&[1, 1])[..0x60]));
    }
}
