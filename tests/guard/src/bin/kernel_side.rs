//! What the kernel side comes to, a number to a line, for `cargo xtask guard`: instructions of each program, and the
//! bytes that each map holds, once and again for every CPU (an array that user space makes as long as there are CPUs is held
//! as it is for one). It is given the object that observer's build.rs left.

use std::{env, fs};

use anyhow::{Context as _, Result};
use aya_obj::{
    Map, Object,
    generated::bpf_map_type::{
        BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
    },
};

const PER_CPU: [u32; 3] =
    [BPF_MAP_TYPE_PERCPU_ARRAY as u32, BPF_MAP_TYPE_PERCPU_HASH as u32, BPF_MAP_TYPE_LRU_PERCPU_HASH as u32];

fn main() -> Result<()> {
    let path = env::args_os().nth(1).context("no object was named")?;
    let object = Object::parse(&fs::read(path)?).context("the kernel side is no BPF object")?;
    for (name, program) in &object.programs {
        let place = (program.section_index, program.address);
        let function = object.functions.get(&place).with_context(|| format!("{name} has no instructions"))?;
        println!("program_instructions {name} {}", function.instructions.len());
    }
    // What several programs call, the kernel loads with each of them.
    let programs: Vec<_> =
        object.programs.values().map(|program| (program.section_index, program.address)).collect();
    for function in object.functions.iter().filter(|(place, _)| !programs.contains(place)) {
        let (name, instructions) = (&function.1.name, function.1.instructions.len());
        // Without the crate's hash, which is another one in every checkout.
        println!("program_instructions {:#} {instructions}", rustc_demangle::demangle(name));
    }
    for (name, map) in &object.maps {
        let (once, per_cpu) = bytes(map);
        println!("map_bytes {name} {once}");
        if per_cpu > 0 {
            println!("map_bytes_per_cpu {name} {per_cpu}");
        }
    }
    Ok(())
}

/// What a map's entries take, once and for each CPU, without what the kernel needs to keep them apart.
fn bytes(map: &Map) -> (u64, u64) {
    let entries = u64::from(map.max_entries());
    let [keys, values] = [map.key_size(), map.value_size()].map(|size| u64::from(size) * entries);
    match (map.key_size(), PER_CPU.contains(&map.map_type())) {
        // A ring buffer: its size is what it says that it has entries.
        (0, _) => (entries, 0),
        (_, true) => (keys, values),
        (_, false) => (keys + values, 0),
    }
}
