//! Docker's format as it is found in the wild, and the default filter beside Docker's.

#[path = "common/docker.rs"]
mod docker_default;

use confine::seccomp::docker::{Context, MAX_BYTES, Parsed, parse};
use confine::seccomp::{Action, Arch, Profile, SyscallData, compile};
use confine::{CapSet, Capability, Error};

const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

fn context(arch: Arch, capabilities: CapSet) -> Context {
    Context {
        arch,
        capabilities,
        kernel: (6, 1),
    }
}

fn parse_default(arch: Arch, capabilities: CapSet) -> Profile {
    parse(&docker_default::profile(), &context(arch, capabilities))
        .unwrap()
        .profile
}

fn parse_one(json: &str) -> Result<Parsed, Error> {
    parse(json, &context(Arch::X86_64, CapSet::DEFAULT))
}

fn decide(profile: &Profile, name: &str, args: &[u64]) -> Action {
    let mut data = SyscallData::of(Arch::X86_64, Arch::X86_64.number(name).unwrap());
    data.args[..args.len()].copy_from_slice(args);
    let answer = profile.decide(Arch::X86_64, &data);
    let compiled = compile(profile, Arch::X86_64).unwrap();
    assert_eq!(
        compiled.evaluate(&data),
        Some(answer.to_ret()),
        "{name} {args:?}"
    );
    answer
}

/// Arguments that tell the conditional rules of both profiles apart, as the kernel sees them: it looks at
/// 32 bits of those parameters.
fn interesting_arguments() -> Vec<[u64; 6]> {
    let mut all = Vec::new();
    for first in (0..64).chain([
        0x2_0000,
        0x2_0008,
        0x4_0000,
        0xffff_ffff,
        0x1000_0000,
        0x0200_0011,
    ]) {
        for second in [0, 0x5412, 0x541c] {
            for third in [0, 4, 9, 12] {
                all.push([first, second, third, 0, 0, 0]);
            }
        }
    }
    all
}

#[test]
fn the_default_filter_allows_less_than_dockers_for_every_capability() {
    let single = CapSet::ALL.iter().map(CapSet::from);
    for capabilities in single.chain([CapSet::EMPTY, CapSet::DEFAULT, CapSet::ALL]) {
        for arch in ARCHES {
            let ours = Profile::default_for(capabilities);
            let dockers = parse_default(arch, capabilities);
            let mut stricter = 0;
            for (nr, name) in arch.syscalls() {
                let conditional = ["clone", "ioctl", "personality", "socket", "socketpair"];
                let few = vec![[0; 6]];
                let all = if conditional.contains(&name) {
                    interesting_arguments()
                } else {
                    few
                };
                for args in all {
                    let data = SyscallData {
                        args,
                        ..SyscallData::of(arch, nr)
                    };
                    let allowed = ours.decide(arch, &data).is_permissive();
                    let theirs = dockers.decide(arch, &data).is_permissive();
                    assert!(
                        !allowed || theirs,
                        "{arch:?} {capabilities}: {name} {args:x?}"
                    );
                    stricter += u32::from(theirs && !allowed);
                }
            }
            assert!(stricter > 0);
        }
    }
}

#[test]
fn dockers_profile_compiles_small_enough_for_both_architectures() {
    for arch in ARCHES {
        let program = compile(&parse_default(arch, CapSet::DEFAULT), arch).unwrap();
        assert!(
            program.instructions().len() < 400,
            "{}",
            program.instructions().len()
        );
    }
}

#[test]
fn dockers_profile_says_what_it_says() {
    let profile = parse_default(Arch::X86_64, CapSet::DEFAULT);
    let table: [(&str, &[u64], Action); 12] = [
        ("read", &[], Action::Allow),
        ("arch_prctl", &[], Action::Allow),
        ("ptrace", &[], Action::Allow),
        ("clone3", &[], Action::ENOSYS),
        ("clone", &[0x11], Action::Allow),
        ("clone", &[0x1000_0011], Action::EPERM),
        ("socket", &[38], Action::EPERM),
        ("socket", &[2], Action::Allow),
        ("socket", &[45], Action::Allow),
        ("mount", &[], Action::EPERM),
        ("personality", &[0x4_0000], Action::EPERM),
        ("listns", &[], Action::EPERM),
    ];
    for (name, args, expected) in table {
        assert_eq!(decide(&profile, name, args), expected, "{name} {args:?}");
    }
    let number_without_name = SyscallData::of(Arch::X86_64, 4000);
    assert_eq!(
        profile.decide(Arch::X86_64, &number_without_name),
        Action::ENOSYS
    );
}

#[test]
fn a_capability_switches_entries_on_and_off() {
    let admin = parse_default(Arch::X86_64, CapSet::from(Capability::SYS_ADMIN));
    assert_eq!(decide(&admin, "mount", &[]), Action::Allow);
    assert_eq!(decide(&admin, "clone3", &[]), Action::Allow);
    assert_eq!(decide(&admin, "clone", &[0x1000_0011]), Action::Allow);
}

#[test]
fn an_older_kernel_leaves_out_what_needs_a_newer_one() {
    let old = Context {
        kernel: (4, 7),
        ..context(Arch::X86_64, CapSet::EMPTY)
    };
    let profile = parse(&docker_default::profile(), &old).unwrap().profile;
    assert_eq!(decide(&profile, "ptrace", &[]), Action::EPERM);
}

#[test]
fn the_older_form_with_one_name_is_read() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": null}]}"#;
    let profile = parse_one(json).unwrap().profile;
    assert_eq!(decide(&profile, "read", &[]), Action::Allow);
    assert_eq!(decide(&profile, "write", &[]), Action::EPERM);
}

#[test]
fn every_operator_compares_64_bits_unsigned() {
    let big = 1_u64 << 40;
    let table = [
        ("SCMP_CMP_EQ", [false, true, false]),
        ("SCMP_CMP_NE", [true, false, true]),
        ("SCMP_CMP_LT", [true, false, false]),
        ("SCMP_CMP_LE", [true, true, false]),
        ("SCMP_CMP_GT", [false, false, true]),
        ("SCMP_CMP_GE", [false, true, true]),
    ];
    for (op, expected) in table {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"],
                "action": "SCMP_ACT_LOG", "args": [{{"index": 2, "value": {big}, "op": "{op}"}}]}}]}}"#
        );
        let profile = parse_one(&json).unwrap().profile;
        let answers = [big - 1, big, big + 1].map(|arg| decide(&profile, "read", &[0, 0, arg]));
        assert_eq!(
            answers.map(|answer| answer == Action::Log),
            expected,
            "{op}"
        );
    }
}

#[test]
fn conditions_on_different_arguments_are_joined_and_on_the_same_are_alternatives() {
    let profile = |second: u32| {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["socket"],
                "action": "SCMP_ACT_ALLOW", "args": [
                {{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}},
                {{"index": {second}, "value": 2, "valueTwo": 0, "op": "SCMP_CMP_EQ"}}]}}]}}"#
        );
        parse_one(&json).unwrap().profile
    };
    let joined = profile(1);
    assert_eq!(decide(&joined, "socket", &[1, 2]), Action::Allow);
    assert_eq!(decide(&joined, "socket", &[1, 3]), Action::EPERM);
    let alternatives = profile(0);
    assert_eq!(decide(&alternatives, "socket", &[1]), Action::Allow);
    assert_eq!(decide(&alternatives, "socket", &[2]), Action::Allow);
    assert_eq!(decide(&alternatives, "socket", &[3]), Action::EPERM);
}

#[test]
fn a_narrow_rule_counts_before_a_wide_one_in_any_order() {
    let wide = r#"{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW"}"#;
    let narrow = r#"{"names": ["ioctl"], "action": "SCMP_ACT_KILL_PROCESS",
        "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}"#;
    for (first, second) in [(wide, narrow), (narrow, wide)] {
        let json =
            format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{first}, {second}]}}"#);
        let profile = parse_one(&json).unwrap().profile;
        assert_eq!(decide(&profile, "ioctl", &[0, 7]), Action::KillProcess);
        assert_eq!(decide(&profile, "ioctl", &[0, 8]), Action::Allow);
    }
}

#[test]
fn each_action_is_known() {
    let table = [
        ("SCMP_ACT_KILL", Action::KillThread),
        ("SCMP_ACT_KILL_THREAD", Action::KillThread),
        ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
        ("SCMP_ACT_TRAP", Action::Trap(0)),
        ("SCMP_ACT_ERRNO", Action::Errno(9)),
        ("SCMP_ACT_TRACE", Action::Trace(9)),
        ("SCMP_ACT_ALLOW", Action::Allow),
        ("SCMP_ACT_LOG", Action::Log),
        ("SCMP_ACT_NOTIFY", Action::Notify),
    ];
    for (name, expected) in table {
        let takes_errno = matches!(expected, Action::Errno(_) | Action::Trace(_));
        let errno = if takes_errno {
            r#", "errnoRet": 9"#
        } else {
            ""
        };
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                [{{"names": ["read"], "action": "{name}"{errno}}}]}}"#
        );
        assert_eq!(
            decide(&parse_one(&json).unwrap().profile, "read", &[]),
            expected,
            "{name}"
        );
    }
}

#[test]
fn listener_and_flags_are_handed_on() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x", "listenerMetadata": "m",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
    let parsed = parse_one(json).unwrap();
    assert_eq!(parsed.listener_path.as_deref(), Some("/run/x"));
    assert_eq!(parsed.listener_metadata.as_deref(), Some("m"));
    assert!(parsed.profile.flags.log && parsed.profile.flags.wait_killable_recv);
    assert!(!parsed.profile.flags.tsync);
}

/// The message with the chain of its sources.
fn message(json: &str) -> String {
    let error: &dyn std::error::Error = &parse_one(json).expect_err(json);
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |rule: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW"}}, {rule}]}}"#
        )
    };
    let table = [
        ("{".to_owned(), "EOF while parsing"),
        ("{}".to_owned(), "missing field `defaultAction`"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "sycalls": []}"#.to_owned(),
            "unknown field `sycalls`",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_LOG", "defaultErrnoRet": 5}"#.to_owned(),
            "defaultAction: SCMP_ACT_LOG takes no errno",
        ),
        (
            r#"{"defaultAction": "ALLOW"}"#.to_owned(),
            r#"defaultAction: unknown action "ALLOW""#,
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}"#.to_owned(),
            "errno 5000",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"]}"#.to_owned(),
            "SCMP_ARCH_X86_64 is not among them",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#.to_owned(),
            r#"flags: unknown flag "X""#,
        ),
        (
            rule(r#"{"names": ["write", "raed"], "action": "SCMP_ACT_ALLOW"}"#),
            r#"syscalls[1].names[1]: unknown system call "raed""#,
        ),
        (
            rule(
                r#"{"names": ["raed"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}"#,
            ),
            r#"unknown system call "raed""#,
        ),
        (
            rule(
                r#"{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            "syscalls[1].args[0]: there is no argument 6",
        ),
        (
            rule(
                r#"{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "EQ"}]}"#,
            ),
            r#"syscalls[1].args[0]: unknown operator "EQ""#,
        ),
        (
            rule(
                r#"{"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}}"#,
            ),
            r#"syscalls[1].includes.caps: unknown capability "CAP_X""#,
        ),
        (
            rule(
                r#"{"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}"#,
            ),
            r#"syscalls[1].includes.minKernel: "new" is not a kernel version"#,
        ),
        (
            rule(r#"{"name": "write", "names": ["read"], "action": "SCMP_ACT_ALLOW"}"#),
            "has both",
        ),
        (
            rule(r#"{"action": "SCMP_ACT_ALLOW"}"#),
            "syscalls[1]: has neither",
        ),
    ];
    for (json, expected) in table {
        let message = message(&json);
        assert!(message.contains(expected), "{json}\n{message}");
    }
}

#[test]
fn a_profile_beyond_the_size_limit_is_not_parsed() {
    let json = " ".repeat(MAX_BYTES + 1);
    assert!(
        matches!(parse_one(&json), Err(Error::ProfileSize { bytes, .. }) if bytes == MAX_BYTES + 1)
    );
}
