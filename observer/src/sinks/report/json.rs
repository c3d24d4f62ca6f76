//! A verdict for programs: the contract as it is.

use crate::core::verdict::Verdict;

/// Renders the contract, indented.
pub(super) fn render(verdict: &Verdict) -> String {
    match serde_json::to_string_pretty(verdict) {
        Ok(json) => json + "\n",
        // A verdict is made of text, numbers and lists, and its only map has text for keys: there is
        // nothing in it that JSON cannot hold. Should that ever change, this is still JSON.
        Err(error) => format!("{}\n", serde_json::json!({ "error": error.to_string() })),
    }
}
