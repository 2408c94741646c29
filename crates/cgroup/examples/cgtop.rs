//! What each group uses: `cgtop [DEPTH]`. Needs no privilege.

#![allow(clippy::print_stdout, reason = "a command line program")]

use std::error::Error;

use cgroup::{Group, Hierarchy};

fn show(group: &Group, depth: usize, indent: usize) -> Result<(), cgroup::Error> {
    let stats = group.stats()?;
    let name = group.name().to_string_lossy();
    let cpu = stats.cpu.map_or(0, |cpu| cpu.usage.0 / 1000);
    print!(
        "{:indent$}{name:<w$} cpu {cpu:>8} ms",
        "",
        w = 32usize.saturating_sub(indent)
    );
    if let Some(memory) = stats.memory {
        print!(
            "  memory {:>6} MiB of {}",
            memory.current.0 >> 20,
            memory.max
        );
    }
    if let Some(pids) = stats.pids {
        print!("  pids {:>5} of {}", pids.current, pids.max);
    }
    if let Ok(psi) = group.pressure(cgroup::psi::Resource::Memory) {
        let stalled = psi.some.unwrap_or_default().avg10;
        print!("  memory pressure {stalled} %");
    }
    println!();
    if depth == 0 {
        return Ok(());
    }
    for name in group.children()? {
        // A group may be gone by the time its parent's list has been read.
        if let Ok(child) = Group::open_in(group.dir(), &name) {
            show(&child, depth - 1, indent + 2)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let depth = match std::env::args().nth(1) {
        Some(depth) => depth.parse()?,
        None => 2,
    };
    let hierarchy = Hierarchy::find()?;
    println!(
        "{:?} on {}, controllers: {}",
        hierarchy.kind(),
        hierarchy.mount_point().display(),
        hierarchy.controllers()
    );
    show(&hierarchy.root()?, depth, 0)?;
    Ok(())
}
