//! What the names of a file stand for: its imports, its modules, and where the file lies in the crate.

use std::collections::{HashMap, HashSet};

/// An absolute path: its first segment is `crate` or a crate's name.
pub type AbsolutePath = Vec<String>;

/// Types of the language whose names look like those of crates.
const PRIMITIVES: &[&str] = &[
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

/// The names of one module, on top of those of the module around it.
#[derive(Default)]
struct Names {
    imports: HashMap<String, AbsolutePath>,
    own: HashSet<String>,
}

/// The names of a file, as far as it has been read.
pub struct Scope {
    module: Vec<String>,
    /// From the file's own module to the innermost inline module.
    names: Vec<Names>,
}

impl Scope {
    /// Starts a file whose module has this path, `crate` first.
    pub fn new(module: Vec<String>) -> Self {
        Self { module, names: vec![Names::default()] }
    }

    /// Enters an inline module.
    pub fn enter(&mut self, name: &str) {
        self.module.push(name.to_owned());
        self.names.push(Names::default());
    }

    /// Leaves the inline module.
    pub fn leave(&mut self) {
        self.module.pop();
        self.names.pop();
    }

    /// Notes that the current module declares a module or an item of this name.
    pub fn declare(&mut self, name: &str) {
        if let Some(names) = self.names.last_mut() {
            names.own.insert(name.to_owned());
        }
    }

    /// Notes that the current module imports this path under this name.
    pub fn import(&mut self, name: &str, path: AbsolutePath) {
        if let Some(names) = self.names.last_mut() {
            names.imports.insert(name.to_owned(), path);
        }
    }

    /// Makes a path absolute. Nothing, if it starts at something of the module's own, such as a type or a variable.
    pub fn resolve(&self, path: &[String], from_root: bool, is_use: bool) -> Option<AbsolutePath> {
        let first = path.first()?;
        if from_root {
            return Some(path.to_vec());
        }
        match first.as_str() {
            "crate" => return Some(path.to_vec()),
            "self" | "super" => return Some(self.climb(path)),
            _ => {}
        }
        for names in self.names.iter().rev() {
            if names.own.contains(first) {
                return None;
            }
            if let Some(import) = names.imports.get(first) {
                return Some(import.iter().chain(&path[1..]).cloned().collect());
            }
        }
        let lone = path.len() == 1 && !is_use;
        (!lone && looks_like_a_crate(first)).then(|| path.to_vec())
    }

    /// Follows leading `self` and `super` from the current module.
    fn climb(&self, path: &[String]) -> AbsolutePath {
        let mut absolute = self.module.clone();
        let ups = path.iter().take_while(|segment| *segment == "self" || *segment == "super").count();
        for segment in &path[..ups] {
            if segment == "super" && absolute.len() > 1 {
                absolute.pop();
            }
        }
        absolute.extend_from_slice(&path[ups..]);
        absolute
    }
}

/// By convention the names of crates and modules are lower case, those of types are not.
fn looks_like_a_crate(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_lowercase()) && !PRIMITIVES.contains(&name)
}
