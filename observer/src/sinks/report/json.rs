//! A verdict or comparison for programs: the contract as it is.

use serde::Serialize;

/// Renders the contract, indented.
pub(super) fn render(contract: &impl Serialize) -> String {
    match serde_json::to_string_pretty(contract) {
        Ok(json) => json + "\n",
        // Both are made of text, numbers and lists, and their only maps have text for keys: there is
        // nothing in them that JSON cannot hold. Should that ever change, this is still JSON.
        Err(error) => format!("{}\n", serde_json::json!({ "error": error.to_string() })),
    }
}
