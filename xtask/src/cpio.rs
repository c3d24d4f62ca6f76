//! Writes the archive format that the kernel unpacks as an initramfs ("newc"), without root and without temporary
//! files. The same content always gives the same bytes.

use anyhow::{Context as _, Result};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that grows in memory. Folders have to be added before what lies in them.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER, (0, 0), &[])
    }

    /// Adds a file with its permissions.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.entry(path, FILE | permissions, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, SYMLINK, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let name = path.trim_start_matches('/');
        let size =
            u32::try_from(content.len()).with_context(|| format!("{path} is too large for an initramfs"))?;
        self.entries += 1;
        let (uid, gid, links, time, checksum) = (0, 0, 1, 0, 0);
        let fields: [u32; 13] = [
            self.entries,
            mode,
            uid,
            gid,
            links,
            time,
            size,
            0,
            0,
            device.0,
            device.1,
            u32::try_from(name.len())? + 1,
            checksum,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_padded_content() -> Result<()> {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"hello")?;
        let bytes = archive.finish()?;
        let header = concat!(
            "070701", "00000001", "000081ED", "00000000", "00000000", "00000001", "00000000", "00000005",
            "00000000", "00000000", "00000000", "00000000", "00000005", "00000000"
        );
        assert_eq!(&bytes[..header.len()], header.as_bytes());
        assert_eq!(&bytes[110..124], b"init\0\0hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        Ok(())
    }

    #[test]
    fn every_entry_starts_at_a_multiple_of_four() -> Result<()> {
        let mut archive = Archive::default();
        for name in ["a", "bb", "ccc", "dddd"] {
            archive.folder(name)?;
            archive.file(&format!("{name}/x"), 0o644, name.as_bytes())?;
            assert_eq!(archive.bytes.len() % 4, 0);
        }
        Ok(())
    }
}
