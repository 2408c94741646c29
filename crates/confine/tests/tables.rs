//! The compiled filters in `src/seccomp/tables.rs` beside what the compiler makes of their profiles.
//!
//! `CTR_BLESS=1 cargo test -p confine --test tables` writes the file anew.

use std::fmt::Write;

use confine::seccomp::{Arch, Profile, Program, compile};
use confine::{CapSet, Capability};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/tables.rs");

const HEAD: &str = "\
//! Compiled filters, so that a start has nothing to compile.
//!
//! Generated: `CTR_BLESS=1 cargo test -p confine --test tables` writes this file, without `CTR_BLESS` the test
//! says when it is not what the compiler makes of the profiles.

use super::Instruction;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}
";

fn profiles() -> [(&'static str, &'static str, Profile); 2] {
    let (default, init) = (Profile::default_profile(), Profile::init_profile());
    [
        ("DEFAULT", "Profile::default_profile", default),
        ("INIT", "Profile::init_profile", init),
    ]
}

const ARCHES: [(&str, Arch); 2] = [("X86_64", Arch::X86_64), ("AARCH64", Arch::Aarch64)];

fn generate() -> String {
    let mut text = HEAD.to_owned();
    for (name, what, profile) in profiles() {
        for (suffix, arch) in ARCHES {
            let program = compile(&profile, arch).unwrap();
            let instructions = program.instructions();
            let count = instructions.len();
            writeln!(text, "\n/// Of `{what}`, for `Arch::{arch:?}`.").unwrap();
            writeln!(
                text,
                "pub(super) static {name}_{suffix}: [Instruction; {count}] = ["
            )
            .unwrap();
            for one in instructions {
                let (high, low) = (one.k >> 16, one.k & 0xffff);
                let k = match high {
                    0 => format!("{low:#x}"),
                    _ => format!("{high:#x}_{low:04x}"),
                };
                writeln!(
                    text,
                    "    op({:#04x}, {}, {}, {k}),",
                    one.code, one.jt, one.jf
                )
                .unwrap();
            }
            text.push_str("];\n");
        }
    }
    text
}

#[test]
fn the_tables_are_what_the_compiler_makes() {
    let expected = generate();
    if std::env::var_os("CTR_BLESS").is_some() {
        std::fs::write(FILE, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(FILE).unwrap();
    assert!(
        found == expected,
        "{FILE} is stale: CTR_BLESS=1 cargo test -p confine --test tables"
    );
    for (_, arch) in ARCHES {
        let default = compile(&Profile::default_profile(), arch).unwrap();
        assert_eq!(Program::default_for(CapSet::DEFAULT, arch), default);
        let init = compile(&Profile::init_profile(), arch).unwrap();
        assert_eq!(Program::init_filter(arch), init);
    }
}

#[test]
fn every_set_of_capabilities_gets_the_filter_of_its_profile() {
    let single = CapSet::ALL.iter().map(CapSet::from);
    let sets = [
        CapSet::EMPTY,
        CapSet::ALL,
        CapSet::of(&[Capability::SYS_ADMIN, Capability::NET_RAW]),
    ];
    for set in single.chain(sets) {
        for (_, arch) in ARCHES {
            let compiled = compile(&Profile::default_for(set), arch).unwrap();
            assert_eq!(Program::default_for(set, arch), compiled, "{set} {arch:?}");
        }
    }
}
