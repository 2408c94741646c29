//! The program, run by a small interpreter: what it answers for every kind of question.

use super::*;
use proptest::prelude::*;

/// Runs a program as the kernel would; panics at whatever its verifier would refuse.
fn run(program: &[Insn], device_type: DeviceType, access: Access, major: u32, minor: u32) -> bool {
    let context = [
        (access.bits().cast_unsigned() << 16) | type_bits(device_type).cast_unsigned(),
        major,
        minor,
    ];
    let mut registers = [None::<u32>; 6];
    let mut at = 0usize;
    loop {
        let insn = program[at];
        let (dst, src) = (usize::from(insn.dst()), usize::from(insn.src()));
        let value = |n: usize| registers[n].expect("an initialised register");
        let imm = insn.imm.cast_unsigned();
        let mut next = at + 1;
        match insn.code {
            LDX_MEM_W => {
                assert_eq!(insn.src(), CONTEXT);
                registers[dst] = Some(context[usize::try_from(insn.off).expect("offset") / 4]);
            }
            ALU32_MOV_X => registers[dst] = Some(value(src)),
            ALU32_MOV_K => registers[dst] = Some(imm),
            ALU32_AND_K => registers[dst] = Some(value(dst) & imm),
            ALU32_RSH_K => registers[dst] = Some(value(dst) >> imm),
            JMP32_JNE_K | JMP32_JNE_X => {
                let other = if insn.code == JMP32_JNE_K {
                    imm
                } else {
                    value(src)
                };
                if value(dst) != other {
                    next += usize::try_from(insn.off).expect("forwards");
                }
            }
            EXIT => return value(usize::from(RESULT)) == 1,
            code => panic!("unknown instruction {code:#x}"),
        }
        at = next;
    }
}

fn allows(
    rules: &[DeviceRule],
    device_type: DeviceType,
    access: Access,
    major: u32,
    minor: u32,
) -> bool {
    rules.iter().any(|rule| {
        rule.device_type.is_none_or(|t| t == device_type)
            && rule.major.is_none_or(|m| m == major)
            && rule.minor.is_none_or(|m| m == minor)
            && access.bits() & !rule.access.bits() == 0
    })
}

fn device_type() -> impl Strategy<Value = DeviceType> {
    prop_oneof![Just(DeviceType::Char), Just(DeviceType::Block)]
}

fn access() -> impl Strategy<Value = Access> {
    any::<(bool, bool, bool)>().prop_map(|(read, write, mknod)| Access { read, write, mknod })
}

fn rule() -> impl Strategy<Value = DeviceRule> {
    let number = || {
        prop_oneof![
            Just(None),
            (0u32..4).prop_map(Some),
            any::<u32>().prop_map(Some)
        ]
    };
    (
        proptest::option::of(device_type()),
        number(),
        number(),
        access(),
    )
        .prop_map(|(device_type, major, minor, access)| DeviceRule {
            device_type,
            major,
            minor,
            access,
        })
}

proptest! {
    #[test]
    fn a_program_allows_exactly_what_its_rules_allow(
        rules in proptest::collection::vec(rule(), 0..12),
        device_type in device_type(),
        access in access(),
        major in 0u32..4,
        minor in 0u32..4,
    ) {
        let program = compile(&rules);
        every_instruction_can_be_reached(&program);
        prop_assert_eq!(
            run(&program, device_type, access, major, minor),
            allows(&rules, device_type, access, major, minor)
        );
    }
}

/// What the kernel's verifier insists on.
fn every_instruction_can_be_reached(program: &[Insn]) {
    let mut reached = vec![false; program.len()];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut reached[at], true) || program[at].code == EXIT {
            continue;
        }
        open.push(at + 1);
        if matches!(program[at].code, JMP32_JNE_K | JMP32_JNE_X) {
            open.push(at + 1 + usize::try_from(program[at].off).expect("forwards"));
        }
    }
    assert!(reached.iter().all(|r| *r), "{program:?}");
}

#[test]
fn what_follows_a_rule_that_allows_everything_is_left_out() {
    let all = DeviceRule {
        device_type: None,
        major: None,
        minor: None,
        access: Access::ALL,
    };
    let program = compile(&[
        all,
        DeviceRule {
            major: Some(1),
            ..all
        },
    ]);
    every_instruction_can_be_reached(&program);
    assert_eq!(program.len(), 8);
}

#[test]
fn an_empty_list_allows_nothing() {
    let program = compile(&[]);
    assert_eq!(program.len(), 8);
    assert!(!run(&program, DeviceType::Char, Access::READ, 1, 3));
}

#[test]
fn too_many_rules_are_refused_before_the_kernel_is_asked() {
    let rule = DeviceRule {
        device_type: None,
        major: None,
        minor: None,
        access: Access::ALL,
    };
    let error = Program::allow_list(&vec![rule; MAX_RULES + 1]).expect_err("too many");
    assert!(matches!(
        error,
        Error::TooManyDeviceRules { count: 1025, .. }
    ));
}

#[test]
fn a_rule_is_spelled_as_devices_allow_spelled_it() {
    let rule = DeviceRule {
        device_type: Some(DeviceType::Char),
        major: Some(1),
        minor: None,
        access: Access::READ_WRITE,
    };
    assert_eq!(rule.to_string(), "c 1:* rw");
    let all = DeviceRule {
        device_type: None,
        major: None,
        minor: None,
        access: Access::ALL,
    };
    assert_eq!(all.to_string(), "a *:* rwm");
}
