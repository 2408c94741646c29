//! Compiled filters, and an interpreter that says what one would answer.

use std::borrow::Cow;

use super::profile::{Action, Flags, Profile};
use super::{Arch, compile, default, tables};
use crate::{CapSet, Error};

/// One instruction of classic BPF, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// Operation, `BPF_*`.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// `BPF_LD|BPF_W|BPF_ABS`: a word of the call's data into the accumulator.
pub(crate) const LOAD: u16 = 0x20;
/// `BPF_ALU|BPF_AND|BPF_K`
pub(crate) const AND: u16 = 0x54;
/// `BPF_JMP|BPF_JA`
pub(crate) const JUMP: u16 = 0x05;
/// `BPF_JMP|BPF_JEQ|BPF_K`
pub(crate) const JEQ: u16 = 0x15;
/// `BPF_JMP|BPF_JGT|BPF_K`
pub(crate) const JGT: u16 = 0x25;
/// `BPF_JMP|BPF_JGE|BPF_K`
pub(crate) const JGE: u16 = 0x35;
/// `BPF_JMP|BPF_JSET|BPF_K`
const JSET: u16 = 0x45;
/// `BPF_RET|BPF_K`
pub(crate) const RET: u16 = 0x06;

/// What a filter sees of a call, `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyscallData {
    /// The number.
    pub nr: u32,
    /// `AUDIT_ARCH_*`
    pub arch: u32,
    /// Where it was called from.
    pub instruction_pointer: u64,
    /// The arguments; pointers are addresses.
    pub args: [u64; 6],
}

impl SyscallData {
    /// A call with all arguments 0.
    pub fn of(arch: super::Arch, nr: u32) -> Self {
        Self {
            nr,
            arch: arch.audit(),
            instruction_pointer: 0,
            args: [0; 6],
        }
    }

    /// The word at an offset into the structure; both architectures are little endian.
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64, high: bool| (if high { value >> 32 } else { value }) as u32;
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            8 | 12 => Some(half(self.instruction_pointer, offset == 12)),
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                Some(half(arg, offset % 8 == 4))
            }
            _ => None,
        }
    }
}

/// A filter ready for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Cow<'static, [Instruction]>,
    flags: Flags,
}

impl Program {
    /// `BPF_MAXINSNS`
    pub const MAX_INSTRUCTIONS: usize = 4096;

    pub(crate) fn new(instructions: Vec<Instruction>, flags: Flags) -> Self {
        Self {
            instructions: instructions.into(),
            flags,
        }
    }

    /// [`Profile::default_for`] these capabilities, compiled. Where they make the same filter as the default
    /// ones it is a table of this crate: nothing is computed and nothing allocated.
    pub fn default_for(capabilities: CapSet, arch: Arch) -> Self {
        if capabilities.intersection(default::RELEVANT).is_empty() {
            return Self::table(match arch {
                Arch::X86_64 => &tables::DEFAULT_X86_64,
                Arch::Aarch64 => &tables::DEFAULT_AARCH64,
            });
        }
        compile(&Profile::default_for(capabilities), arch)
            .expect("the default filter is far shorter than the kernel allows")
    }

    /// [`Profile::init_profile`], compiled: a table of this crate.
    pub const fn init_filter(arch: Arch) -> Self {
        Self::table(match arch {
            Arch::X86_64 => &tables::INIT_X86_64,
            Arch::Aarch64 => &tables::INIT_AARCH64,
        })
    }

    const fn table(instructions: &'static [Instruction]) -> Self {
        Self {
            instructions: Cow::Borrowed(instructions),
            flags: Flags::NONE,
        }
    }

    /// A filter compiled elsewhere.
    ///
    /// # Errors
    /// [`Error::FilterTooLong`] above 4096 instructions.
    pub fn from_instructions(instructions: Vec<Instruction>, flags: Flags) -> Result<Self, Error> {
        if instructions.len() > Self::MAX_INSTRUCTIONS {
            return Err(Error::FilterTooLong {
                instructions: instructions.len(),
            });
        }
        Ok(Self::new(instructions, flags))
    }

    /// Its instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Does it ask a listener about any call?
    pub fn notifies(&self) -> bool {
        let notify = Action::Notify.to_ret();
        self.instructions
            .iter()
            .any(|one| one.code == RET && one.k == notify)
    }

    /// The filter's return value for a call, as the kernel's interpreter would compute it; `None` if the
    /// kernel would have refused the filter (this crate does not make such).
    pub fn evaluate(&self, data: &SyscallData) -> Option<u32> {
        evaluate(&self.instructions, data).map(|(ret, _)| ret)
    }

    /// How many instructions the kernel executes for a call.
    pub fn steps(&self, data: &SyscallData) -> Option<usize> {
        evaluate(&self.instructions, data).map(|(_, steps)| steps)
    }

    pub(crate) fn kernel_flags(&self, listen: bool) -> libc::c_ulong {
        self.flag_table(listen)
            .iter()
            .filter(|(on, ..)| *on)
            .fold(0, |bits, (_, bit, _)| bits | bit)
    }

    pub(crate) fn flag_names(&self, listen: bool) -> String {
        let table = self.flag_table(listen);
        let names: Vec<&str> = table
            .iter()
            .filter(|(on, ..)| *on)
            .map(|(.., name)| *name)
            .collect();
        if names.is_empty() {
            "0".to_owned()
        } else {
            names.join("|")
        }
    }

    fn flag_table(&self, listen: bool) -> [(bool, libc::c_ulong, &'static str); 5] {
        let flags = &self.flags;
        [
            (flags.tsync, 1 << 0, "SECCOMP_FILTER_FLAG_TSYNC"),
            (flags.log, 1 << 1, "SECCOMP_FILTER_FLAG_LOG"),
            (flags.spec_allow, 1 << 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
            (listen, 1 << 3, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
            (
                flags.wait_killable_recv,
                1 << 5,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            ),
        ]
    }
}

/// Runs instructions: the return value, and how many were executed.
pub(crate) fn evaluate(program: &[Instruction], data: &SyscallData) -> Option<(u32, usize)> {
    let mut accumulator = 0;
    let mut at = 0_usize;
    // Every jump goes forwards, so there are at most as many steps as instructions.
    for executed in 1..=program.len() {
        let one = program.get(at)?;
        at += 1;
        let branch = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            LOAD => accumulator = data.word(one.k)?,
            AND => accumulator &= one.k,
            JUMP => at += one.k as usize,
            JEQ => at += branch(accumulator == one.k),
            JGT => at += branch(accumulator > one.k),
            JGE => at += branch(accumulator >= one.k),
            JSET => at += branch(accumulator & one.k != 0),
            RET => return Some((one.k, executed)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Arch;
    use super::*;

    #[test]
    fn words_are_found_where_the_kernel_puts_them() {
        let data = SyscallData {
            nr: 1,
            arch: 2,
            instruction_pointer: 3 << 32 | 4,
            args: [5 << 32 | 6, 0, 0, 0, 0, 7 << 32 | 8],
        };
        let words = [
            (0, 1),
            (4, 2),
            (8, 4),
            (12, 3),
            (16, 6),
            (20, 5),
            (56, 8),
            (60, 7),
        ];
        for (offset, expected) in words {
            assert_eq!(data.word(offset), Some(expected), "offset {offset}");
        }
        assert_eq!((data.word(64), data.word(18)), (None, None));
    }

    #[test]
    fn a_program_that_runs_off_its_end_has_no_answer() {
        let jump = Instruction {
            code: JUMP,
            jt: 0,
            jf: 0,
            k: 7,
        };
        assert_eq!(evaluate(&[jump], &SyscallData::of(Arch::X86_64, 0)), None);
        assert_eq!(evaluate(&[], &SyscallData::of(Arch::X86_64, 0)), None);
    }
}
