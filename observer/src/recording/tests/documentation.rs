//! The queries that docs/recording.md shows run, and answer something.

use std::process::Command;

use tempfile::tempdir;

use super::{frames, judged};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recording.md"));

fn queries() -> Vec<&'static str> {
    DOCUMENT.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_query_of_the_document_answers_something() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    judged(&path, &frames(40));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let queries = queries();
    assert!(queries.len() > 5, "where are the examples?");
    for query in queries {
        let mut statement = connection.prepare(query).unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert!(statement.exists(()).unwrap(), "no answer: {query}");
    }
}

#[test]
fn every_table_and_view_is_documented_and_every_view_works() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    judged(&path, &frames(40));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut schema =
        connection.prepare("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").unwrap();
    let entries: Vec<(String, String)> =
        schema.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    for (kind, name) in entries {
        assert!(DOCUMENT.contains(&format!("| `{name}` |")), "{kind} {name} is not in docs/recording.md");
        let rows: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {name}"), (), |row| row.get(0)).unwrap();
        assert!(rows > 0, "{kind} {name} is empty");
    }
}

#[test]
fn the_numbers_in_the_views_are_right() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    judged(&path, &frames(10));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let rate: (f64, String, i64, f64) = connection
        .query_row(
            "SELECT seconds, place, delta, rate_per_s FROM signal_rate WHERE signal = 'syn_arrival' LIMIT 1 OFFSET 3",
            (),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(rate, (0.3, "0.0.0.0:8080".into(), 340, 3400.0));
    let fullest: (f64, i64, i64) = connection
        .query_row("SELECT max(ratio), used, limit_value FROM usage_ratio", (), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(fullest, (1.0078, 129, 128));
}

/// People use the sqlite3 of their distribution, which may be older than ours.
#[test]
fn the_command_line_tool_reads_it_too() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    judged(&path, &frames(10));
    for query in queries() {
        match Command::new("sqlite3").arg(&path).arg(query).output() {
            Ok(output) => {
                assert!(output.status.success() && !output.stdout.is_empty(), "{query}\n{output:?}")
            }
            Err(error) => {
                eprintln!("skipped: the_command_line_tool_reads_it_too: no sqlite3 here ({error})");
                return;
            }
        }
    }
}
