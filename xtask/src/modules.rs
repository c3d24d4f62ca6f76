//! Kernel modules: which ones a module needs, and in which order they load.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// The modules of one kernel, as `depmod` describes them.
pub struct Modules {
    /// Module -> its file below the modules folder, and the modules that it needs.
    loadable: HashMap<String, (String, Vec<String>)>,
    builtin: Vec<String>,
}

/// A module, ready to be loaded.
pub struct Module {
    /// Its name, without folder and suffix.
    pub name: String,
    /// The decompressed object.
    pub object: Vec<u8>,
}

impl Modules {
    /// Reads `modules.dep` and `modules.builtin` of an unpacked kernel.
    pub fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
        };
        Self::parse(&read("modules.dep")?, &read("modules.builtin")?)
    }

    fn parse(dependencies: &str, builtin: &str) -> Result<Self> {
        let mut loadable = HashMap::new();
        for line in dependencies.lines() {
            let (file, needs) =
                line.split_once(':').with_context(|| format!("modules.dep has no colon in `{line}`"))?;
            let needs = needs.split_whitespace().map(module_name).collect();
            loadable.insert(module_name(file), (file.to_owned(), needs));
        }
        Ok(Self { loadable, builtin: builtin.lines().map(module_name).collect() })
    }

    /// Whether this kernel has the module, built in or not.
    pub fn has(&self, name: &str) -> bool {
        let name = module_name(name);
        self.loadable.contains_key(&name) || self.builtin.contains(&name)
    }

    /// Names the wanted modules and all that they need, in the order of loading. What is built in is left out.
    pub fn load_order<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>> {
        let mut order = Vec::new();
        for name in wanted {
            self.visit(&module_name(name), &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, order: &mut Vec<String>) -> Result<()> {
        if order.iter().any(|loaded| loaded == name) || self.builtin.iter().any(|builtin| builtin == name) {
            return Ok(());
        }
        let Some((_, needs)) = self.loadable.get(name) else {
            bail!("this kernel has no module {name}");
        };
        for need in needs {
            self.visit(need, order)?;
        }
        order.push(name.to_owned());
        Ok(())
    }

    /// Reads the object of a module that [`Modules::load_order`] has named.
    pub fn open(&self, folder: &Path, name: &str) -> Result<Module> {
        let (file, _) =
            self.loadable.get(name).with_context(|| format!("this kernel has no module {name}"))?;
        Ok(Module { name: name.to_owned(), object: decompressed(&folder.join(file))? })
    }
}

/// The name that the kernel gives to the module in a file.
fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

fn decompressed(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|suffix| suffix.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| format!("{} cannot be read", file.display())),
    };
    let mut command = Command::new(program);
    command.args(["--decompress", "--stdout"]).arg(file);
    let output = command.output().with_context(|| format!("`{program}` could not be started"))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", process::shown(&command), output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/net/ipv4/tcp_diag.ko.xz: kernel/net/ipv4/inet_diag.ko.xz\n\
                                kernel/net/ipv4/udp_diag.ko.xz: kernel/net/ipv4/inet_diag.ko.xz\n\
                                kernel/net/ipv4/inet_diag.ko.xz:\n\
                                kernel/crypto/crc-ccitt.ko:\n";

    fn modules() -> Result<Modules> {
        Modules::parse(DEPENDENCIES, "kernel/net/unix/unix.ko\n")
    }

    #[test]
    fn needs_come_first_and_once() -> Result<()> {
        let order = modules()?.load_order(["tcp_diag", "udp_diag"])?;
        assert_eq!(order, ["inet_diag", "tcp_diag", "udp_diag"]);
        Ok(())
    }

    #[test]
    fn a_builtin_needs_no_loading_and_dashes_do_not_matter() -> Result<()> {
        assert_eq!(modules()?.load_order(["unix", "crc-ccitt"])?, ["crc_ccitt"]);
        Ok(())
    }

    #[test]
    fn a_kernel_has_what_it_loads_and_what_is_built_in() -> Result<()> {
        let modules = modules()?;
        assert!(modules.has("unix") && modules.has("crc-ccitt") && !modules.has("veth"));
        Ok(())
    }

    #[test]
    fn an_unknown_module_is_named() -> Result<()> {
        let error = modules()?.load_order(["veth"]).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("this kernel has no module veth"));
        Ok(())
    }
}
