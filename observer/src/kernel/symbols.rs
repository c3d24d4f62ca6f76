//! Addresses of kernel functions.

use std::io::{self, BufRead as _};

/// The address of a function of the kernel image, from `/proc/kallsyms`; the error says what is in the way.
pub fn address(function: &str) -> Result<u64, String> {
    let path = "/proc/kallsyms";
    let lines = std::fs::File::open(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    for line in io::BufReader::with_capacity(1 << 16, lines).lines() {
        let line = line.map_err(|error| format!("cannot read {path}: {error}"))?;
        match parse(&line, function) {
            None => {}
            Some(0) => return Err(format!("{path} hides addresses (kernel.kptr_restrict)")),
            Some(address) => return Ok(address),
        }
    }
    Err(format!("{path} has no {function}"))
}

/// `ffffffff813b8a30 t sched_cfs_period_timer`: the address, where the line is about the function. A symbol
/// of a module has a fourth word.
fn parse(line: &str, function: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let matches = name == function && matches!(kind, "t" | "T") && words.next().is_none();
    matches.then(|| u64::from_str_radix(address, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_function_itself_is_taken() {
        let line = "ffffffff813b8a30 t sched_cfs_period_timer";
        assert_eq!(parse(line, "sched_cfs_period_timer"), Some(0xffff_ffff_813b_8a30));
        assert_eq!(parse("0000000000000000 t sched_cfs_period_timer", "sched_cfs_period_timer"), Some(0));
        assert_eq!(parse("ffffffff81208c8e t sched_cfs_period_timer.cold", "sched_cfs_period_timer"), None);
        assert_eq!(parse("ffffffff813b8a30 t early_drop\t[nf_conntrack]", "early_drop"), None);
    }
}
