//! The tables, and how one tells that a file has them.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;

use super::error::RecordingError;
use crate::core::frame::SCHEMA_VERSION;

/// Marks an SQLite file as a recording of observer: `obsv`.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"obsv");

const TABLES: &str = include_str!("schema.sql");

/// Makes the tables in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Refuses what is not a recording that this version reads.
///
/// The tables have to be exactly ours: a table of the right name but with other columns, or a view
/// in the place of a table, would otherwise be read as if observer had written it.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), RecordingError> {
    let number = |pragma: &str| -> Result<i64, RecordingError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|error| RecordingError::database(path, error))
    };
    if number("application_id")? != i64::from(APPLICATION_ID) {
        return Err(RecordingError::NotARecording {
            path: path.to_owned(),
            why: "it is an SQLite file of another program, or its recording never began".into(),
        });
    }
    let found = number("user_version")?;
    let (path_buf, expected) = (path.to_owned(), SCHEMA_VERSION);
    match u32::try_from(found) {
        Ok(found) if found == expected => {}
        Ok(found) if found < expected => {
            return Err(RecordingError::OlderSchema { path: path_buf, found, expected });
        }
        Ok(found) => return Err(RecordingError::NewerSchema { path: path_buf, found, expected }),
        Err(_) => {
            return Err(RecordingError::Damaged {
                path: path_buf,
                what: format!("its schema version reads {found}"),
            });
        }
    }
    let ours = Connection::open_in_memory()
        .and_then(|empty| create(&empty).and_then(|()| tables(&empty)))
        .map_err(|error| RecordingError::database(path, error))?;
    let theirs = tables(connection).map_err(|error| RecordingError::database(path, error))?;
    match ours.iter().find(|(name, definition)| theirs.get(*name) != Some(definition)) {
        None => Ok(()),
        Some((name, _)) => Err(RecordingError::Damaged {
            path: path_buf,
            what: format!("its table {name} is missing or not as observer makes it"),
        }),
    }
}

/// Name and definition of every table.
fn tables(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
