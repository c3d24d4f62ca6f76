//! Says what is going on, and how long it took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Announces a stage, runs it, and tells its time.
pub fn stage<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {title}");
    let started = Instant::now();
    let result = work();
    let how = if result.is_ok() { "done" } else { "failed" };
    println!("    {title}: {how} after {}", seconds(started.elapsed()));
    result
}

/// One line about a step within a stage.
pub fn step(text: impl AsRef<str>) {
    println!("    {}", text.as_ref());
}

/// A duration as people read it.
pub fn seconds(elapsed: Duration) -> String {
    let whole = elapsed.as_secs();
    if whole < 60 {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_told_from_a_minute_on() {
        assert_eq!(seconds(Duration::from_millis(1_540)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(59)), "59.0 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
