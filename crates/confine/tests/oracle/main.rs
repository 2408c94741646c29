//! libseccomp as the judge: for the same rules its filter and ours give the same answers under the same
//! interpreter. Needs the package libseccomp-dev.

#[path = "../common/docker.rs"]
mod docker_default;
mod ffi;

use std::fs::File;
use std::io::{Read, Seek};

use confine::CapSet;
use confine::seccomp::docker::{self, Context};
use confine::seccomp::{
    Action, Arch, Comparison, Condition, Flags, Instruction, Profile, Program, Rule, SyscallData,
    compile,
};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};

/// libseccomp's filter for the same model. The model must not need an order of rules: libseccomp has none.
fn oracle(profile: &Profile, arch: Arch, optimize: u32) -> Program {
    let (default, foreign) = (profile.default_action, profile.foreign_action);
    let mut context = ffi::Context::new(default, foreign, arch, optimize);
    for (name, rules) in profile.syscalls() {
        // Rules are given with the numbers of the machine it runs on, whatever they are for.
        let number = ffi::number(Arch::NATIVE, name).unwrap();
        // libseccomp refuses a rule that says what is the default anyway.
        for rule in rules.iter().filter(|rule| rule.action != default) {
            context.add(rule.action, number, &rule.conditions);
        }
    }
    let mut file = File::from(memfd_create(c"filter", MemfdFlags::CLOEXEC).unwrap());
    context.export(&file);
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let instructions = bytes
        .chunks_exact(8)
        .map(|b| Instruction {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    Program::from_instructions(instructions, Flags::default()).unwrap()
}

const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// Names our table and libseccomp's share, on this architecture.
fn shared(arch: Arch) -> Vec<(u32, &'static str)> {
    let known =
        |(number, name): &(u32, &'static str)| ffi::number(arch, name) == Some(*number as i32);
    arch.syscalls().filter(known).collect()
}

#[test]
fn our_numbers_are_those_of_libseccomp() {
    for arch in ARCHES {
        for (number, name) in arch.syscalls() {
            if let Some(theirs) = ffi::number(arch, name) {
                assert_eq!(theirs, number as i32, "{arch:?} {name}");
            }
        }
    }
}

#[test]
fn every_number_libseccomp_has_a_name_for_has_one_here() {
    for arch in ARCHES {
        for number in 0..600 {
            if let Some(theirs) = ffi::name(arch, number) {
                assert_eq!(
                    arch.name(number),
                    Some(theirs.as_str()),
                    "{arch:?} {number}"
                );
            }
        }
    }
}

/// Values on both sides of every edge.
fn argument_values(profile: &Profile) -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 1 << 32, 0xffff_ffff];
    for (_, rules) in profile.syscalls() {
        for condition in rules.iter().flat_map(|rule| &rule.conditions) {
            let value = match condition.is {
                Comparison::MaskedEq { mask, value } => {
                    values.extend([value | !mask, value ^ (mask & mask.wrapping_neg())]);
                    value
                }
                Comparison::Eq(v)
                | Comparison::Ne(v)
                | Comparison::Lt(v)
                | Comparison::Le(v)
                | Comparison::Gt(v)
                | Comparison::Ge(v) => v,
            };
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
            values.extend([value ^ 1 << 32, value ^ 1 << 63]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn check_same(profile: &Profile, arch: Arch, numbers: impl Iterator<Item = u32>) {
    let ours = compile(profile, arch).unwrap();
    let theirs = [oracle(profile, arch, 1), oracle(profile, arch, 2)];
    let values = argument_values(profile);
    let check = |data: &SyscallData| {
        let answer = ours.evaluate(data);
        assert_eq!(
            answer,
            Some(profile.decide(arch, data).to_ret()),
            "{arch:?} {data:?}"
        );
        for theirs in &theirs {
            assert_eq!(answer, theirs.evaluate(data), "{arch:?} {data:?}");
        }
    };
    for nr in numbers {
        let mut data = SyscallData::of(arch, nr);
        check(&data);
        for (i, &value) in values.iter().enumerate() {
            // The others at another edge, so that AND and OR are told apart.
            let other = values[(i * 7 + 3) % values.len()];
            for arg in 0..6 {
                data.args = [other; 6];
                data.args[arg] = value;
                check(&data);
                data.args = [value; 6];
                check(&data);
            }
        }
    }
    let foreign = SyscallData {
        arch: 0x4000_0003,
        ..SyscallData::of(arch, 1)
    };
    check(&foreign);
    if arch == Arch::X86_64 {
        check(&SyscallData::of(arch, 0x4000_0000));
    }
}

#[test]
fn the_default_filter_is_what_libseccomp_makes_of_the_same_rules() {
    for arch in ARCHES {
        let shared = shared(arch);
        let full = Profile::default_profile();
        let mut profile = Profile::new(full.default_action);
        profile.unknown_action = full.default_action;
        // What libseccomp can say: known to it, and one answer besides the default for each call.
        for (name, rules) in full
            .syscalls()
            .filter(|(name, _)| shared.iter().any(|(_, n)| n == name))
        {
            for rule in rules
                .iter()
                .filter(|rule| rule.action == Action::Allow && name != "ioctl")
            {
                profile.add(name, rule.clone()).unwrap();
            }
        }
        check_same(&profile, arch, shared.iter().map(|(number, _)| *number));
    }
}

#[test]
fn dockers_profile_is_answered_as_by_libseccomp() {
    for arch in ARCHES {
        let context = Context {
            arch,
            capabilities: CapSet::DEFAULT,
            kernel: (6, 1),
        };
        let full = docker::parse(&docker_default::profile(), &context)
            .unwrap()
            .profile;
        let shared = shared(arch);
        let mut profile = Profile::new(full.default_action);
        profile.unknown_action = full.default_action;
        for (name, rules) in full
            .syscalls()
            .filter(|(name, _)| shared.iter().any(|(_, n)| n == name))
        {
            for rule in rules {
                profile.add(name, rule.clone()).unwrap();
            }
        }
        check_same(&profile, arch, shared.iter().map(|(number, _)| *number));
    }
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20_u64,
        any::<u32>().prop_map(u64::from),
        any::<u64>(),
        (0..4_u64).prop_map(|high| high << 32 | 5),
        Just(u64::MAX),
    ]
}

/// Those libseccomp does not express by the contrary of another.
fn plain_comparison() -> impl Strategy<Value = Comparison> {
    comparison().prop_filter("the contrary of another", |comparison| {
        !matches!(
            comparison,
            Comparison::Lt(_) | Comparison::Le(_) | Comparison::Ne(_)
        )
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        value().prop_map(Comparison::Eq),
        value().prop_map(Comparison::Ne),
        value().prop_map(Comparison::Lt),
        value().prop_map(Comparison::Le),
        value().prop_map(Comparison::Gt),
        value().prop_map(Comparison::Ge),
        (value(), value()).prop_map(|(mask, value)| Comparison::MaskedEq {
            mask,
            value: value & mask
        }),
    ]
}

/// Up to three conditions on different arguments: libseccomp takes one for each.
fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let arguments = proptest::sample::subsequence(vec![0_u8, 1, 2, 3, 4, 5], 0..=3);
    arguments.prop_flat_map(|arguments| {
        let count = arguments.len();
        proptest::collection::vec(comparison(), count).prop_map(move |comparisons| {
            let pairs = arguments.iter().zip(comparisons);
            pairs.map(|(&arg, is)| Condition { arg, is }).collect()
        })
    })
}

/// One rule for each call: libseccomp joins several into a tree of its own order, see below.
fn profile() -> impl Strategy<Value = Vec<(&'static str, Vec<Condition>)>> {
    let names: Vec<&'static str> = shared(Arch::X86_64)
        .into_iter()
        .filter(|(_, name)| shared(Arch::Aarch64).iter().any(|(_, other)| other == name))
        .map(|(_, name)| name)
        .collect();
    proptest::sample::subsequence(names, 1..40).prop_flat_map(|names| {
        let count = names.len();
        proptest::collection::vec(conditions(), count)
            .prop_map(move |all| names.iter().copied().zip(all).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_rules_are_answered_as_by_libseccomp(rules in profile(), arch in 0..2_usize) {
        let arch = ARCHES[arch];
        let mut profile = Profile::new(Action::Allow);
        for (name, conditions) in &rules {
            let rule = Rule { action: Action::Errno(13), conditions: conditions.clone() };
            profile.add(name, rule).unwrap();
        }
        let numbers: Vec<u32> = rules.iter().filter_map(|(name, _)| arch.number(name)).collect();
        check_same(&profile, arch, numbers.into_iter());
    }

    /// Without `<`, `<=` and `!=`: of alternatives that compare the same argument so, libseccomp 2.5.4 makes
    /// a filter that says something else than the rules (`arg < 5` or `arg < 1 << 32` refuses 6).
    #[test]
    fn alternatives_are_joined_as_by_libseccomp(
        alternatives in proptest::collection::vec((0..6_u8, plain_comparison()), 1..5),
    ) {
        let mut profile = Profile::new(Action::EPERM);
        for (arg, is) in alternatives {
            let rule = Rule { action: Action::Allow, conditions: vec![Condition { arg, is }] };
            profile.add("socket", rule).unwrap();
        }
        let number = Arch::X86_64.number("socket").unwrap();
        check_same(&profile, Arch::X86_64, [number].into_iter());
    }
}

/// The one known difference: a call with a rule for some arguments and another answer for all others.
/// libseccomp drops the first; here the author's narrower rule counts.
#[test]
fn libseccomp_forgets_a_narrow_rule_once_there_is_a_wide_one() {
    let mut profile = Profile::new(Action::Errno(5));
    let narrow = Rule {
        action: Action::EPERM,
        conditions: vec![Condition::int_is(1, 0x5412)],
    };
    profile.add("ioctl", narrow).unwrap();
    profile.add("ioctl", Rule::always(Action::Allow)).unwrap();
    let number = Arch::X86_64.number("ioctl").unwrap();
    let data = SyscallData {
        args: [0, 0x5412, 0, 0, 0, 0],
        ..SyscallData::of(Arch::X86_64, number)
    };
    let ours = compile(&profile, Arch::X86_64).unwrap();
    assert_eq!(ours.evaluate(&data), Some(Action::EPERM.to_ret()));
    let theirs = oracle(&profile, Arch::X86_64, 1);
    assert_eq!(theirs.evaluate(&data), Some(Action::Allow.to_ret()));
}
