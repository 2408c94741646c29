//! The compiler against the model: random profiles, random calls, the same answer.

use confine::Error;
use confine::seccomp::{Action, Arch, Comparison, Condition, Profile, Rule, SyscallData, compile};
use proptest::prelude::*;

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::KillProcess),
        Just(Action::KillThread),
        Just(Action::Log),
        Just(Action::Notify),
        (0..3_u16).prop_map(Action::Errno),
        (0..2_u16).prop_map(Action::Trap),
        (0..2_u16).prop_map(Action::Trace),
    ]
}

/// Few values, so that random arguments meet them; both halves of the word count.
fn value() -> impl Strategy<Value = u64> {
    let half = || prop_oneof![0..3_u64, Just(0xffff_ffff), Just(0x8000_0000)];
    (half(), half()).prop_map(|(high, low)| high << 32 | low)
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        value().prop_map(Comparison::Eq),
        value().prop_map(Comparison::Ne),
        value().prop_map(Comparison::Lt),
        value().prop_map(Comparison::Le),
        value().prop_map(Comparison::Gt),
        value().prop_map(Comparison::Ge),
        (value(), value()).prop_map(|(mask, value)| Comparison::MaskedEq { mask, value }),
        (value(), value()).prop_map(|(mask, v)| Comparison::MaskedEq {
            mask,
            value: v & mask
        }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let condition = (0..6_u8, comparison()).prop_map(|(arg, is)| Condition { arg, is });
    (action(), proptest::collection::vec(condition, 0..4))
        .prop_map(|(action, conditions)| Rule { action, conditions })
}

/// Names of both architectures.
fn names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Arch::X86_64
        .syscalls()
        .chain(Arch::Aarch64.syscalls())
        .map(|(_, name)| name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn profile() -> impl Strategy<Value = Profile> {
    let calls = proptest::sample::subsequence(names(), 0..200).prop_flat_map(|names| {
        let count = names.len();
        let rules = proptest::collection::vec(proptest::collection::vec(rule(), 1..5), count);
        rules.prop_map(move |all| names.iter().copied().zip(all).collect::<Vec<_>>())
    });
    (action(), action(), action(), calls).prop_map(|(default, unknown, foreign, calls)| {
        let mut profile = Profile::new(default);
        profile.unknown_action = unknown;
        profile.foreign_action = foreign;
        for (name, rules) in calls {
            for rule in rules {
                profile.add(name, rule).unwrap();
            }
        }
        profile
    })
}

fn arch() -> impl Strategy<Value = Arch> {
    prop_oneof![Just(Arch::X86_64), Just(Arch::Aarch64)]
}

/// Numbers in the table, around its end, x32's and the largest.
fn number() -> impl Strategy<Value = u32> {
    let end = Arch::X86_64.last();
    prop_oneof![
        8 => 0..=end,
        1 => end..end + 4,
        1 => 0x3fff_fffe_u32..0x4000_0220,
        1 => Just(u32::MAX),
    ]
}

fn call() -> impl Strategy<Value = (u32, [u64; 6])> {
    (number(), proptest::array::uniform6(value()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_answers_as_its_profile(
        profile in profile(),
        arch in arch(),
        foreign in proptest::option::weighted(0.05, any::<u32>()),
        calls in proptest::collection::vec(call(), 400),
    ) {
        let program = match compile(&profile, arch) {
            Ok(program) => program,
            Err(Error::FilterTooLong { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        for (nr, args) in calls {
            let mut data = SyscallData { args, ..SyscallData::of(arch, nr) };
            data.arch = foreign.unwrap_or(data.arch);
            let expected = profile.decide(arch, &data).to_ret();
            prop_assert_eq!(program.evaluate(&data), Some(expected), "{:?}", data);
        }
    }
}

/// So many rules that every jump over them is longer than a conditional one can be.
fn long_profile(rules_for_each: u64) -> Profile {
    let mut profile = Profile::new(Action::EPERM);
    for (nr, name) in Arch::X86_64.syscalls().take(60) {
        for value in 0..rules_for_each {
            let conditions = vec![Condition {
                arg: 0,
                is: Comparison::Eq(value << 32 | value),
            }];
            // Of no two calls the same: those would be joined.
            let action = Action::Errno(nr as u16 * 50 + value as u16);
            profile.add(name, Rule { action, conditions }).unwrap();
        }
    }
    profile
}

#[test]
fn jumps_of_more_than_255_instructions_arrive() {
    let profile = long_profile(12);
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert!(
        program.instructions().len() > 2500,
        "{}",
        program.instructions().len()
    );
    for (nr, _) in Arch::X86_64.syscalls() {
        for arg in [0, 1, 11 << 32 | 11, 11, 12 << 32 | 12] {
            let data = SyscallData {
                args: [arg, 0, 0, 0, 0, 0],
                ..SyscallData::of(Arch::X86_64, nr)
            };
            let expected = profile.decide(Arch::X86_64, &data).to_ret();
            assert_eq!(program.evaluate(&data), Some(expected), "{nr} {arg:x}");
        }
    }
}

#[test]
fn one_call_with_a_thousand_instructions_is_still_answered_right() {
    let mut profile = Profile::new(Action::Allow);
    for value in 0..250 {
        let conditions = vec![Condition {
            arg: 5,
            is: Comparison::Ge(1000 - value * 3),
        }];
        let action = Action::Errno(value as u16 + 1);
        profile.add("mmap", Rule { action, conditions }).unwrap();
    }
    let program = compile(&profile, Arch::X86_64).unwrap();
    let nr = Arch::X86_64.number("mmap").unwrap();
    for arg in (0..1100).chain([u64::MAX, 1 << 32]) {
        let data = SyscallData {
            args: [0, 0, 0, 0, 0, arg],
            ..SyscallData::of(Arch::X86_64, nr)
        };
        let expected = profile.decide(Arch::X86_64, &data).to_ret();
        assert_eq!(program.evaluate(&data), Some(expected), "{arg}");
    }
}

#[test]
fn a_filter_longer_than_the_kernel_takes_is_an_error_with_its_length() {
    let error = compile(&long_profile(30), Arch::X86_64).unwrap_err();
    assert!(matches!(error, Error::FilterTooLong { instructions } if instructions > 4096));
}

#[test]
fn x32_and_32_bit_calls_are_refused_whatever_the_profile_allows() {
    let program = compile(&Profile::new(Action::Allow), Arch::X86_64).unwrap();
    let refused = Some(Action::ENOSYS.to_ret());
    for nr in [0x4000_0000, 0x4000_0001, 0x4000_0000 + 512, u32::MAX] {
        assert_eq!(
            program.evaluate(&SyscallData::of(Arch::X86_64, nr)),
            refused,
            "{nr:#x}"
        );
    }
    let i386 = SyscallData {
        arch: 0x4000_0003,
        ..SyscallData::of(Arch::X86_64, 1)
    };
    assert_eq!(program.evaluate(&i386), refused);
    let read = SyscallData::of(Arch::X86_64, 0);
    assert_eq!(program.evaluate(&read), Some(Action::Allow.to_ret()));
}
