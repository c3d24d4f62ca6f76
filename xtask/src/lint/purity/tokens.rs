//! Finds paths in tokens that nobody has parsed, such as the arguments of a macro.

use proc_macro2::{TokenStream, TokenTree};

/// A path in tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenPath {
    /// Its names.
    pub segments: Vec<String>,
    /// Whether it starts with `::`.
    pub from_root: bool,
    /// Whether `!` follows: it is the name of a macro.
    pub is_macro: bool,
    /// The line, from 1 on.
    pub line: usize,
}

/// All paths, lone names among them, in the tokens and in the groups within.
pub fn paths(tokens: TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    collect(&tokens.into_iter().collect::<Vec<_>>(), &mut found);
    found
}

fn collect(tokens: &[TokenTree], found: &mut Vec<TokenPath>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Group(group) => {
                collect(&group.stream().into_iter().collect::<Vec<_>>(), found);
                at += 1;
            }
            TokenTree::Ident(ident) => {
                let start = at;
                let mut segments = vec![ident.to_string()];
                at += 1;
                while let (true, Some(TokenTree::Ident(next))) =
                    (is_separator(tokens, at), tokens.get(at + 2))
                {
                    segments.push(next.to_string());
                    at += 3;
                }
                let line = ident.span().start().line;
                match before(tokens, start) {
                    // `<T as Trait>::name` and `Vec::<u8>::new`: the name belongs to a type.
                    Before::Type => {}
                    before => found.push(TokenPath {
                        segments,
                        from_root: before == Before::Root,
                        is_macro: is_punct(tokens.get(at), '!'),
                        line,
                    }),
                }
            }
            _ => at += 1,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Before {
    Nothing,
    Root,
    Type,
}

/// What stands in front of a path.
fn before(tokens: &[TokenTree], start: usize) -> Before {
    let Some(colons) = start.checked_sub(2).filter(|at| is_separator(tokens, *at)) else {
        return Before::Nothing;
    };
    let ends_a_type = colons.checked_sub(1).is_some_and(|at| is_punct(tokens.get(at), '>'));
    if ends_a_type { Before::Type } else { Before::Root }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Vec<String>, proc_macro2::LexError> {
        let shown = |path: TokenPath| {
            let root = if path.from_root { "::" } else { "" };
            let mark = if path.is_macro { "!" } else { "" };
            format!("{root}{}{mark}", path.segments.join("::"))
        };
        Ok(paths(text.parse()?).into_iter().map(shown).collect())
    }

    #[test]
    fn paths_are_found_wherever_they_stand() -> Result<(), proc_macro2::LexError> {
        assert_eq!(found("\"{}\", std::time::Instant::now()")?, ["std::time::Instant::now"]);
        assert_eq!(found("[(a, ::libc::getpid())]")?, ["a", "::libc::getpid"]);
        assert_eq!(found("field: std::fs, x: ::nix::y")?, ["field", "std::fs", "x", "::nix::y"]);
        assert_eq!(found("println!(1)")?, ["println!"]);
        Ok(())
    }

    #[test]
    fn what_follows_a_type_is_no_path_of_its_own() -> Result<(), proc_macro2::LexError> {
        assert_eq!(found("Vec::<u8>::new()")?, ["Vec", "u8"]);
        Ok(())
    }
}
