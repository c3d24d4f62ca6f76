//! A reader of the running kernel's BTF, for what aya does not make public: the offsets of struct
//! members, the arguments of functions and tracepoints, and the values of enums.
//!
//! Format: Documentation/bpf/btf.rst in the kernel's sources. The crates that read it are either
//! private parts of aya or under a copyleft licence that a static binary cannot carry.

use std::{collections::HashMap, path::Path};

use observer_common::offsets::Lookup;
use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// How deep modifiers and anonymous members may nest before the data is taken for damaged.
const MAX_DEPTH: u32 = 32;

/// What can be wrong with BTF data.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data does not follow the format.
    #[error("the kernel's BTF is damaged at byte {0}")]
    Damaged(usize),
}

/// One type: where its record begins, after the common part.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    size_or_type: u32,
    body: usize,
}

impl Type {
    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn len(self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn has_bitfields(self) -> bool {
        self.info >> 31 == 1
    }
}

/// The types of a kernel.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    types: Vec<Type>,
    structs: HashMap<u64, u32>,
    functions: HashMap<u64, u32>,
    enums: HashMap<u64, u32>,
    typedefs: HashMap<u64, u32>,
}

impl Btf {
    /// Reads the running kernel's own.
    pub fn from_kernel() -> Result<Self, BtfError> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let data = std::fs::read(path)
            .map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Parses BTF data.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let header_len = word(&data, 4)? as usize;
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()) || header_len < HEADER_LEN {
            return Err(BtfError::Damaged(0));
        }
        let start = header_len + word(&data, 8)? as usize;
        let end = start + word(&data, 12)? as usize;
        let strings = header_len + word(&data, 16)? as usize;
        let mut btf = Self {
            data,
            strings,
            types: vec![VOID],
            structs: HashMap::new(),
            functions: HashMap::new(),
            enums: HashMap::new(),
            typedefs: HashMap::new(),
        };
        let mut at = start;
        while at < end {
            at = btf.index(at)?;
        }
        Ok(btf)
    }

    /// Answers one lookup of [`observer_common::Offsets`].
    pub fn lookup(&self, lookup: Lookup) -> Option<u32> {
        match lookup {
            Lookup::Member(path) => self.member_offset(path),
            Lookup::Arity(path) => self.arity(path.first()?),
            Lookup::TracepointArity(path) => self.tracepoint_arity(path.first()?),
            Lookup::TracepointPointer(path) => self.tracepoint_takes_pointer(path.first()?).map(u32::from),
            Lookup::EnumValue(path) => self.enum_value(path.first()?, path.get(1)?),
        }
    }

    /// Byte offset of `[struct, member, member of that, ...]`.
    pub fn member_offset(&self, path: &[&str]) -> Option<u32> {
        let (name, members) = path.split_first()?;
        let mut id = *self.structs.get(&hash(name.as_bytes()))?;
        let mut bits = 0;
        for member in members {
            let (offset, inner) = self.find_member(id, member, 0)?;
            bits += offset;
            id = inner;
        }
        Some(bits / 8)
    }

    /// How many arguments a function takes.
    pub fn arity(&self, function: &str) -> Option<u32> {
        let prototype = self.types.get(*self.functions.get(&hash(function.as_bytes()))? as usize)?;
        (prototype.kind() == KIND_FUNC_PROTO).then_some(prototype.len() as u32)
    }

    /// How many arguments a program on a tracepoint is given.
    pub fn tracepoint_arity(&self, tracepoint: &str) -> Option<u32> {
        // The first one is the tracepoint's own, and not handed on.
        (self.tracepoint(tracepoint)?.len() as u32).checked_sub(1)
    }

    /// Whether the first argument of a tracepoint is a pointer.
    pub fn tracepoint_takes_pointer(&self, tracepoint: &str) -> Option<bool> {
        const SECOND: usize = 8;
        let prototype = self.tracepoint(tracepoint)?;
        let argument = word(&self.data, prototype.body + SECOND + 4).ok().filter(|_| prototype.len() > 1)?;
        Some(self.resolve(argument)?.kind() == KIND_PTR)
    }

    /// Value of an enumerator.
    pub fn enum_value(&self, name: &str, enumerator: &str) -> Option<u32> {
        self.enumerators(name).find(|(_, found)| *found == enumerator.as_bytes()).map(|(value, _)| value)
    }

    /// Values and names of an enum, without the prefix that they share. Those without it are left out.
    pub fn enum_names(&self, name: &str, prefix: &str) -> HashMap<u32, String> {
        self.enumerators(name)
            .filter_map(|(value, name)| Some((value, name.strip_prefix(prefix.as_bytes())?)))
            .map(|(value, name)| (value, String::from_utf8_lossy(name).into_owned()))
            .collect()
    }

    /// The low half of each value, which is all that the kernel uses of those we ask for.
    fn enumerators(&self, name: &str) -> impl Iterator<Item = (u32, &[u8])> {
        let found = self.enums.get(&hash(name.as_bytes())).and_then(|id| self.types.get(*id as usize));
        found.into_iter().flat_map(move |found| {
            let record = if found.kind() == KIND_ENUM { 8 } else { 12 };
            (0..found.len()).filter_map(move |index| {
                let at = found.body + index * record;
                let name = word(&self.data, at).ok()?;
                Some((word(&self.data, at + 4).ok()?, self.string(name)))
            })
        })
    }

    /// The prototype of a tracepoint's programs: `btf_trace_NAME` is a pointer to it.
    fn tracepoint(&self, name: &str) -> Option<Type> {
        let typedef = *self.typedefs.get(&hash(format!("btf_trace_{name}").as_bytes()))?;
        let pointer = self.resolve(typedef)?;
        let prototype = self.resolve(pointer.size_or_type)?;
        (pointer.kind() == KIND_PTR && prototype.kind() == KIND_FUNC_PROTO).then_some(prototype)
    }

    /// Records the type at `at` and returns where the next one begins.
    fn index(&mut self, at: usize) -> Result<usize, BtfError> {
        let record = Type {
            name: word(&self.data, at)?,
            info: word(&self.data, at + 4)?,
            size_or_type: word(&self.data, at + 8)?,
            body: at + 12,
        };
        let id = self.types.len() as u32;
        self.types.push(record);
        match record.kind() {
            KIND_STRUCT if record.name != 0 => {
                let name = hash(self.string(record.name));
                self.structs.entry(name).or_insert(id);
            }
            KIND_FUNC => {
                let name = hash(self.string(record.name));
                self.functions.entry(name).or_insert(record.size_or_type);
            }
            KIND_ENUM | KIND_ENUM64 if record.name != 0 => {
                let name = hash(self.string(record.name));
                self.enums.entry(name).or_insert(id);
            }
            KIND_TYPEDEF => {
                let name = hash(self.string(record.name));
                self.typedefs.entry(name).or_insert(id);
            }
            _ => {}
        }
        let body = body_len(record.kind(), record.len()).ok_or(BtfError::Damaged(at))?;
        Ok(at + 12 + body)
    }

    /// Offset in bits and type of a member, looked for through anonymous structs and unions.
    fn find_member(&self, id: u32, wanted: &str, depth: u32) -> Option<(u32, u32)> {
        let outer = self.resolve(id)?;
        if depth > MAX_DEPTH || !matches!(outer.kind(), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..outer.len() {
            let at = outer.body + index * 12;
            let (name, inner) = (word(&self.data, at).ok()?, word(&self.data, at + 4).ok()?);
            let raw = word(&self.data, at + 8).ok()?;
            let offset = if outer.has_bitfields() { raw & 0x00ff_ffff } else { raw };
            if name == 0 {
                if let Some((nested, found)) = self.find_member(inner, wanted, depth + 1) {
                    return Some((offset + nested, found));
                }
            } else if self.string(name) == wanted.as_bytes() {
                return Some((offset, inner));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let found = *self.types.get(id as usize)?;
            match found.kind() {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some(found),
            }
        }
        None
    }

    fn string(&self, offset: u32) -> &[u8] {
        let tail = self.data.get(self.strings + offset as usize..).unwrap_or_default();
        tail.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

const VOID: Type = Type { name: 0, info: 0, size_or_type: 0, body: 0 };

/// FNV-1a: names are kept as hashes, since a kernel has a hundred thousand of them.
fn hash(name: &[u8]) -> u64 {
    name.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = data.get(at..at + 4).ok_or(BtfError::Damaged(at))?;
    bytes.try_into().map(u32::from_ne_bytes).map_err(|_| BtfError::Damaged(at))
}

/// Length of what follows the common part of a type's record.
fn body_len(kind: u32, len: usize) -> Option<usize> {
    Some(match kind {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        KIND_PTR | 7..=12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        KIND_ARRAY => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        KIND_STRUCT | KIND_UNION | 15 | KIND_ENUM64 => len * 12,
        KIND_ENUM | KIND_FUNC_PROTO => len * 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use observer_common::Offsets;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_running_kernel_has_every_offset_that_it_must_have() {
        let Ok(btf) = Btf::from_kernel() else {
            eprintln!("skipped: no BTF here");
            return;
        };
        let offsets = Offsets::resolve(|lookup| btf.lookup(lookup));
        for (name, value) in offsets.fields() {
            assert_ne!(value, Offsets::ABSENT, "{name}");
        }
        // `skc_daddr` opens `struct sock_common` on every kernel since 3.7.
        assert_eq!(offsets.daddr, 0);
        assert_eq!(offsets.rcv_saddr, 4);
    }

    #[test]
    fn other_data_is_refused() {
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(vec![0; 64]).is_err());
    }

    proptest! {
        #[test]
        fn damaged_data_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 24..256)) {
            bytes[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.member_offset(&["", "a", "b"]);
                let _ = btf.arity("");
                let _ = btf.tracepoint_takes_pointer("");
                let _ = btf.enum_value("", "a");
            }
        }
    }
}
