//! Reading the kernel's text files, and the few forms that several of them share. Pure but for [`read`].

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::error::SourceError;

/// More than any file read here holds; what is longer is not what it claims to be.
const LONGEST: usize = 1 << 20;
/// Room to begin with: with enough of it the kernel gives most files in one go, and such a file is one consistent answer.
const ROOM: usize = 16 * 1024;

/// Reads a whole file into `buffer`, which is reused, and returns it as text.
pub(super) fn read<'b>(path: &str, buffer: &'b mut Vec<u8>) -> Result<&'b str, SourceError> {
    let bytes = read_bytes(path, buffer)?;
    std::str::from_utf8(bytes).map_err(|_| SourceError::malformed(path, "is not text"))
}

/// Reads a whole file into `buffer`, which is reused.
pub(super) fn read_bytes<'b>(path: &str, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], SourceError> {
    Kept::default().read_bytes(path, buffer)
}

/// A file that is read again and again, and opened once: to open it costs as much as to read it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// As it was left; `None` before the first read and after one that failed.
    file: Option<File>,
}

impl Kept {
    /// Whether reading it again opens nothing.
    pub(super) const fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the whole file at `path`, the same at each call, into `buffer`, and returns it as text.
    pub(super) fn read<'b>(&mut self, path: &str, buffer: &'b mut Vec<u8>) -> Result<&'b str, SourceError> {
        let bytes = self.read_bytes(path, buffer)?;
        std::str::from_utf8(bytes).map_err(|_| SourceError::malformed(path, "is not text"))
    }

    fn read_bytes<'b>(&mut self, path: &str, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], SourceError> {
        let length = self
            .fill(path, buffer)
            .map_err(|error| SourceError::Unreadable { file: path.to_owned(), error })?;
        if length >= LONGEST {
            return Err(SourceError::malformed(path, format!("is longer than {LONGEST} bytes")));
        }
        Ok(&buffer[..length])
    }

    fn fill(&mut self, path: &str, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(file) = self.file.take() {
            match whole(&file, buffer) {
                // The module that it is of has been unloaded; it may be there again.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
                outcome => {
                    self.file = outcome.is_ok().then_some(file);
                    return outcome;
                }
            }
        }
        let file = File::open(path)?;
        let length = whole(&file, buffer)?;
        self.file = Some(file);
        Ok(length)
    }
}

/// Reads a file from its beginning, and says how long it is: [`LONGEST`] or more where it is longer than any may be. What
/// follows in `buffer` is left over: to clear it at each read would take longer than some files do.
fn whole(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    while length < LONGEST {
        if buffer.len() == length {
            buffer.resize((length * 2).max(ROOM), 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A number, and nothing else.
pub(super) fn number(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("`{}` is not a number", shorten(text)))
}

/// The one line of a file of one line. Without its end it may be cut, and a cut number is a wrong one.
pub(super) fn line(text: &str) -> Result<&str, String> {
    match text.strip_suffix('\n') {
        Some(line) if !line.contains('\n') => Ok(line),
        Some(_) => Err("holds more than one line".into()),
        None => Err("is cut short".into()),
    }
}

/// A line of exactly `N` numbers with blanks between them.
pub(super) fn numbers<const N: usize>(text: &str) -> Result<[u64; N], String> {
    let mut values = [0; N];
    let mut words = line(text)?.split_ascii_whitespace();
    for value in &mut values {
        *value = number(words.next().ok_or_else(|| format!("holds fewer than {N} numbers"))?)?;
    }
    match words.next() {
        None => Ok(values),
        Some(_) => Err(format!("holds more than {N} numbers")),
    }
}

/// The named columns of a section of `netstat` or `snmp`: a line of names, then one of values, both
/// beginning with `Section:`. `None` for a column that this kernel does not have.
pub(super) fn columns<const N: usize>(
    text: &str,
    section: &str,
    names: [&str; N],
) -> Result<[Option<u64>; N], String> {
    let mut lines =
        text.split_inclusive('\n').filter_map(|line| line.strip_prefix(section)?.strip_prefix(':'));
    let header = lines.next().ok_or_else(|| format!("has no section {section}"))?;
    let values = lines.next().ok_or_else(|| format!("has no values of section {section}"))?;
    if !values.ends_with('\n') {
        return Err(format!("is cut short in section {section}"));
    }
    let mut found = [None; N];
    let mut values = values.split_ascii_whitespace();
    for column in header.split_ascii_whitespace() {
        let value =
            values.next().ok_or_else(|| format!("has fewer values than names in section {section}"))?;
        if let Some(at) = names.iter().position(|name| *name == column) {
            let value = number(value).map_err(|problem| format!("{section} {column}: {problem}"))?;
            if found[at].replace(value).is_some() {
                return Err(format!("has {column} twice in section {section}"));
            }
        }
    }
    match values.next() {
        None => Ok(found),
        Some(_) => Err(format!("has more values than names in section {section}")),
    }
}

/// The named lines of a file of lines `name value`, such as `cpu.stat`. `None` for one that it does not have.
pub(super) fn keyed<const N: usize>(text: &str, names: [&str; N]) -> Result<[Option<u64>; N], String> {
    let mut found = [None; N];
    for text in text.split_inclusive('\n') {
        let Some((name, value)) = text.split_once(' ') else { continue };
        let Some(at) = names.iter().position(|other| *other == name) else { continue };
        let value = number(line(value)?).map_err(|problem| format!("{name}: {problem}"))?;
        if found[at].replace(value).is_some() {
            return Err(format!("has {name} twice"));
        }
    }
    Ok(found)
}

/// As much of `text` as fits into a message.
pub(super) fn shorten(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\n\
                           TcpExt: 4 17 18446744073709551615\n\
                           IpExt: InNoRoutes\nIpExt: 3\n";

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(
            columns(NETSTAT, "TcpExt", ["ListenOverflows", "ListenDrops", "TCPReqQFullDrop"]),
            Ok([Some(17), Some(u64::MAX), None])
        );
        assert_eq!(columns(NETSTAT, "IpExt", ["InNoRoutes"]), Ok([Some(3)]));
    }

    #[test]
    fn damaged_columns_are_an_error_and_not_a_number() {
        for (text, problem) in [
            ("", "has no section"),
            ("TcpExt: A ListenDrops\n", "has no values"),
            ("TcpExt: A ListenDrops\nTcpExt: 1 2", "cut short"),
            ("TcpExt: A ListenDrops\nTcpExt: 1\n", "fewer values"),
            ("TcpExt: A ListenDrops\nTcpExt: 1 2 3\n", "more values"),
            ("TcpExt: A ListenDrops\nTcpExt: 1 x\n", "not a number"),
            ("TcpExt: A ListenDrops\nTcpExt: 1 -2\n", "not a number"),
            ("TcpExt: A ListenDrops\nTcpExt: 1 18446744073709551616\n", "not a number"),
            ("TcpExt: ListenDrops ListenDrops\nTcpExt: 1 2\n", "twice"),
        ] {
            let error = columns(text, "TcpExt", ["ListenDrops"]).expect_err(text);
            assert!(error.contains(problem), "{text:?} gave {error}");
        }
    }

    #[test]
    fn numbers_are_as_many_as_asked_for() {
        assert_eq!(numbers::<3>("447\t0\t2465610\n"), Ok([447, 0, 2_465_610]));
        assert!(numbers::<3>("447 0\n").is_err());
        assert!(numbers::<1>("447 0\n").is_err());
        assert!(numbers::<2>("447 0").is_err(), "the last number may be cut");
    }

    #[test]
    fn keyed_lines_are_found_by_name() {
        let text = "high 510\nmax 105\noom 3\noom_kill 2\n";
        assert_eq!(keyed(text, ["oom_kill", "max", "low"]), Ok([Some(2), Some(105), None]));
        assert_eq!(keyed("", ["max"]), Ok([None]));
        for (text, problem) in
            [("max 10", "cut short"), ("max x\n", "not a number"), ("max 1\nmax 2\n", "twice")]
        {
            let error = keyed(text, ["max"]).expect_err(text);
            assert!(error.contains(problem), "{text:?} gave {error}");
        }
    }

    #[test]
    fn a_file_that_is_kept_open_is_read_as_it_is_now() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path");
        let (mut kept, mut buffer) = (Kept::default(), Vec::new());
        for content in ["one\n", "and another\n", "two\n"] {
            std::fs::write(path, content).expect("write");
            assert_eq!(kept.read(path, &mut buffer).expect("read"), content);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read("/proc/no-such-file", &mut Vec::new()).expect_err("missing");
        assert!(error.to_string().contains("/proc/no-such-file"));
        assert!(error.is_gone());
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "(TcpExt:|[ A-Za-z0-9:\n\t-]|\\PC){0,60}") {
            let _ = columns(&text, "TcpExt", ["A", "ListenDrops"]);
            let _ = numbers::<2>(&text);
            let _ = keyed(&text, ["A"]);
        }

        #[test]
        fn what_the_kernel_prints_is_read_back(values in proptest::collection::vec(any::<u64>(), 1..40), pick in any::<prop::sample::Index>()) {
            let at = pick.index(values.len());
            let names: Vec<String> = (0..values.len()).map(|n| format!("N{n}")).collect();
            let printed: Vec<String> = values.iter().map(u64::to_string).collect();
            let text = format!("T: {}\nT: {}\n", names.join(" "), printed.join(" "));
            prop_assert_eq!(columns(&text, "T", [names[at].as_str()]), Ok([Some(values[at])]));
        }
    }
}
