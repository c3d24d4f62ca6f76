//! Walks the syntax of one file and asks the rules about every path in it, those inside macros included.

use proc_macro2::TokenStream;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Item, ItemExternCrate, ItemForeignMod, ItemMod, ItemUse, Macro, MetaList, VisRestricted,
};

use super::imports;
use super::rules;
use super::scope::Scope;
use super::tokens;

/// Something in the core that is not pure.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Scanned {
    /// What is not pure.
    pub findings: Vec<Finding>,
    /// The modules in files of their own that only tests have; their names below this file's module.
    pub test_modules: Vec<String>,
}

/// Scans the text of a file whose module has this path.
pub fn scan(text: &str, module: Vec<String>) -> syn::Result<Scanned> {
    let file = syn::parse_file(text)?;
    let mut scanner = Scanner { scope: Scope::new(module), scanned: Scanned::default() };
    scanner.declare_all(&file.items);
    scanner.visit_file(&file);
    scanner.scanned.findings.dedup();
    Ok(scanner.scanned)
}

struct Scanner {
    scope: Scope,
    scanned: Scanned,
}

impl Scanner {
    /// Learns the names of a module before any of its paths is judged: order does not matter in Rust.
    fn declare_all(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Mod(module) = item {
                self.scope.declare(&module.ident.to_string());
            }
        }
        for item in items {
            if let Item::Use(import) = item {
                self.import(import, false);
            }
        }
    }

    /// Notes the names that a `use` brings, and judges its paths if asked to. A name that is wrong is reported here
    /// and then taken for the module's own, so that it is not reported wherever it is used.
    fn import(&mut self, item: &ItemUse, judge: bool) {
        for import in imports::of(&item.tree) {
            let Some(path) = self.scope.resolve(&import.path, item.leading_colon.is_some(), true) else {
                continue;
            };
            let objection = rules::objection(&path);
            match (import.name, &objection) {
                (Some(name), Some(_)) => self.scope.declare(&name),
                (Some(name), None) => self.scope.import(&name, path),
                (None, _) => {}
            }
            if let (true, Some(what)) = (judge, objection) {
                self.object(import.line, what);
            }
        }
    }

    fn judge(&mut self, path: &[String], from_root: bool, line: usize) {
        let absolute = self.scope.resolve(path, from_root, false);
        if let Some(what) = absolute.and_then(|path| rules::objection(&path)) {
            self.object(line, what);
        }
    }

    fn judge_macro(&mut self, name: Option<&String>, line: usize) {
        if let Some(what) = name.and_then(|name| rules::macro_objection(name)) {
            self.object(line, what);
        }
    }

    fn judge_tokens(&mut self, stream: TokenStream) {
        for path in tokens::paths(stream) {
            self.judge(&path.segments, path.from_root, path.line);
            if path.is_macro {
                self.judge_macro(path.segments.last(), path.line);
            }
        }
    }

    fn object(&mut self, line: usize, what: String) {
        self.scanned.findings.push(Finding { line, what });
    }
}

impl<'ast> Visit<'ast> for Scanner {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_test_only) {
            if let Item::Mod(ItemMod { content: None, ident, .. }) = item {
                self.scanned.test_modules.push(ident.to_string());
            }
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let Some((_, items)) = &module.content else { return };
        self.scope.enter(&module.ident.to_string());
        self.declare_all(items);
        visit::visit_item_mod(self, module);
        self.scope.leave();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(item, true);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.judge(&[item.ident.to_string()], true, item.span().start().line);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast ItemForeignMod) {
        self.object(item.span().start().line, "a foreign function can do anything".to_owned());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.judge(&segments, path.leading_colon.is_some(), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {
        // `pub(crate)` uses nothing.
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string());
        self.judge_macro(name.as_ref(), call.span().start().line);
        self.judge_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.judge_tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}

/// Whether the attribute keeps an item out of the program: `#[cfg(test)]` or `#[test]`.
fn is_test_only(attribute: &Attribute) -> bool {
    attribute.path().is_ident("test")
        || (attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test")))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
