//! What was measured, as tables.

use std::fmt::Write as _;

use super::row::Row;

/// A table per bench, in the order in which they came, and below it what `after` gives for it.
pub fn tables(rows: &[Row], after: impl Fn(&str) -> String) -> String {
    let mut benches: Vec<&str> = Vec::new();
    for row in rows {
        if !benches.contains(&row.bench.as_str()) {
            benches.push(&row.bench);
        }
    }
    benches.into_iter().map(|bench| format!("{}{}", table(bench, rows), after(bench))).collect()
}

fn table(bench: &str, rows: &[Row]) -> String {
    let mut text = format!("\n### {bench}\n\n| what | with | measured | budget |\n|---|---|---|---|\n");
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
        let expected = "\n### requests\n\n| what | with | measured | budget |\n|---|---|---|---|\n\
                        | p99 | observer | 1.013 (0.99 to 1.1) on/off | at most 1.02: holds |\n\
                        | p99 | ss | 1.013 (0.99 to 1.1) on/off |  |\n\
                        \nrequests ends\n\
                        \n### programs\n\n| what | with | measured | budget |\n|---|---|---|---|\n\
                        | p | observer | 3 runs, 20.5 ns |  |\n\
                        \nprograms ends\n";
        assert_eq!(tables(&rows, |bench| format!("\n{bench} ends\n")), expected);
    }
}
