//! The `ctr` command.

fn main() {}
