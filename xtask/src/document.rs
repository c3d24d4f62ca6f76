//! Documents with parts that are generated.

use anyhow::{Context as _, Result};

/// Where a generated part ends.
const END: &str = "<!-- end -->";

/// Puts new content between the markers of a generated part.
pub fn replace(text: &str, part: &str, content: &str) -> Result<String> {
    let begin = format!("<!-- generated: {part} -->");
    let parts = text
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)))
        .with_context(|| format!("the document has no `{begin}` with an `{END}` after it"))?;
    Ok(format!("{}{begin}\n\n{}\n\n{END}{}", parts.0, content.trim(), parts.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() -> Result<()> {
        let text = "a\n<!-- generated: load -->\nold\n<!-- end -->\nb\n\
                    <!-- generated: counts -->\n<!-- end -->\nc\n";
        let once = replace(text, "load", "new\n")?;
        assert_eq!(
            once,
            "a\n<!-- generated: load -->\n\nnew\n\n<!-- end -->\nb\n\
             <!-- generated: counts -->\n<!-- end -->\nc\n"
        );
        assert_eq!(replace(&once, "load", "new")?, once);
        assert!(replace(text, "other", "new").is_err());
        Ok(())
    }

    #[test]
    fn the_documents_have_their_markers() -> Result<()> {
        let accuracy = include_str!("../../docs/accuracy.md");
        replace(accuracy, "counts", "x")?;
        replace(accuracy, "load", "x")?;
        let performance = include_str!("../../docs/performance.md");
        replace(performance, "growth", "x")?;
        replace(performance, "programs in virtual machines", "x").map(drop)
    }
}
