//! What was measured, as a table per bench.

use std::fmt::Write as _;

use super::row::Row;

/// The benches of these rows, in the order in which they came.
pub fn benches(rows: &[Row]) -> Vec<&str> {
    let mut benches: Vec<&str> = Vec::new();
    for row in rows {
        if !benches.contains(&row.bench.as_str()) {
            benches.push(&row.bench);
        }
    }
    benches
}

/// The rows of one bench.
pub fn table(bench: &str, rows: &[Row]) -> String {
    let mut text = String::from("| what | with | measured | budget |\n|---|---|---|---|\n");
    let of_bench: Vec<&Row> = rows.iter().filter(|row| row.bench == bench).collect();
    for same in of_bench.chunk_by(|one, other| is_same(one, other)) {
        let measured: Vec<String> = same.iter().map(|row| row.measured()).collect();
        let budgets: Vec<String> = same.iter().filter_map(|row| row.told_budget()).collect();
        let (what, with) = (&same[0].what, same[0].told_with());
        let _ = writeln!(text, "| {what} | {with} | {} | {} |", measured.join(", "), budgets.join(", "));
    }
    text
}

/// Whether both are numbers of the same thing, which stand on one line.
fn is_same(one: &Row, other: &Row) -> bool {
    (&one.what, &one.with, one.size) == (&other.what, &other.with, other.size)
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_number_stands_beside_its_budget_and_what_belongs_together_on_one_line() {
        let rows = [
            row(r#"{"budget": {"at_most": 1.02}}"#),
            row(
                r#"{"bench": "programs", "what": "p", "unit": "runs", "value": 3, "low": null, "high": null}"#,
            ),
            row(r#"{"with": "ss"}"#),
            row(
                r#"{"bench": "programs", "what": "p", "unit": "ns", "value": 20.5, "low": null, "high": null}"#,
            ),
        ];
        assert_eq!(benches(&rows), ["requests", "programs"]);
        let requests = "| what | with | measured | budget |\n|---|---|---|---|\n\
                        | p99 | observer | 1.013 (0.99 to 1.1) on/off | at most 1.02: may hold, too noisy to tell |\n\
                        | p99 | ss | 1.013 (0.99 to 1.1) on/off |  |\n";
        assert_eq!(table("requests", &rows), requests);
        let programs = "| what | with | measured | budget |\n|---|---|---|---|\n\
                        | p | observer | 3 runs, 20.5 ns |  |\n";
        assert_eq!(table("programs", &rows), programs);
    }
}
