//! Which devices the processes of a group may open and make: an eBPF program attached to it.
//!
//! Version 2 has no file for this. The kernel asks each program of type
//! `BPF_PROG_TYPE_CGROUP_DEVICE` attached to the group or an ancestor, on every open(2) and mknod(2)
//! of a device node; all of them must allow it. What a program allows here is a list; all else is
//! refused with `EPERM`.
//!
//! Needs CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the initial user namespace, and
//! `CONFIG_CGROUP_BPF`. Since Linux 5.11 programs are accounted to the caller's memory group, so
//! `RLIMIT_MEMLOCK` is left alone. A program lives as long as it is loaded or attached, and is detached
//! with the group's removal.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::group::path_of;
use crate::sys::{self, Insn};
use crate::{Error, Group};

/// A rule is at most eight instructions; more rules than this is no allow-list any more.
pub const MAX_RULES: usize = 1024;

/// Character or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceType {
    /// `c`.
    Char,
    /// `b`.
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// Open it for reading.
    pub read: bool,
    /// Open it for writing.
    pub write: bool,
    /// Make its node with mknod(2), which needs CAP_MKNOD besides.
    pub mknod: bool,
}

impl Access {
    /// `rwm`.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        mknod: true,
    };
    /// `rw`.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        mknod: false,
    };
    /// `r`.
    pub const READ: Self = Self {
        read: true,
        write: false,
        mknod: false,
    };

    /// `BPF_DEVCG_ACC_*`.
    fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// `None`: both.
    pub device_type: Option<DeviceType>,
    /// `None`: all.
    pub major: Option<u32>,
    /// `None`: all.
    pub minor: Option<u32>,
    /// How.
    pub access: Access,
}

/// `c 1:3 rwm`, as version 1's `devices.allow` and OCI write it.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.device_type {
            None => "a",
            Some(DeviceType::Char) => "c",
            Some(DeviceType::Block) => "b",
        })?;
        for (separator, number) in [(" ", self.major), (":", self.minor)] {
            match number {
                Some(number) => write!(f, "{separator}{number}")?,
                None => write!(f, "{separator}*")?,
            }
        }
        f.write_str(" ")?;
        let Access { read, write, mknod } = self.access;
        for (on, letter) in [(read, "r"), (write, "w"), (mknod, "m")] {
            f.write_str(if on { letter } else { "" })?;
        }
        Ok(())
    }
}

/// An allow-list, loaded into the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Loads a program that allows what one of the rules allows, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyDeviceRules`]; [`Error::Bpf`]: `EPERM` without the capabilities, `EINVAL`
    /// without `CONFIG_CGROUP_BPF`.
    ///
    /// # Kernel
    ///
    /// [`bpf(2)`](https://man7.org/linux/man-pages/man2/bpf.2.html), `BPF_PROG_LOAD`.
    pub fn allow_list(rules: &[DeviceRule]) -> Result<Self, Error> {
        if rules.len() > MAX_RULES {
            return Err(Error::TooManyDeviceRules {
                count: rules.len(),
                limit: MAX_RULES,
            });
        }
        sys::load_device_program(&compile(rules))
            .map(|fd| Self { fd })
            .map_err(|source| failed("BPF_PROG_LOAD", None, source))
    }

    /// Attaches it to a group, beside those that are attached already. It stays when this value is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`]: `EPERM` as well when an ancestor has a program that was attached without
    /// `BPF_F_ALLOW_MULTI`, `EINVAL` when this one is attached already.
    pub fn attach(&self, group: impl AsFd) -> Result<(), Error> {
        let group = group.as_fd();
        sys::attach_device_program(group, self.fd.as_fd(), None)
            .map_err(|source| failed("BPF_PROG_ATTACH", Some(group), source))
    }

    /// Attaches it in place of `old`, in one step: no open goes unasked in between.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`]: `ENOENT` when `old` is not attached to the group.
    pub fn replace(&self, old: &Self, group: impl AsFd) -> Result<(), Error> {
        let group = group.as_fd();
        sys::attach_device_program(group, self.fd.as_fd(), Some(old.fd.as_fd()))
            .map_err(|source| failed("BPF_PROG_ATTACH", Some(group), source))
    }

    /// Takes it from a group.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`]: `ENOENT` when it is not attached there.
    pub fn detach(&self, group: impl AsFd) -> Result<(), Error> {
        let group = group.as_fd();
        sys::detach_device_program(group, self.fd.as_fd())
            .map_err(|source| failed("BPF_PROG_DETACH", Some(group), source))
    }
}

impl Group {
    /// The ids of the device programs attached to this group, as `bpftool prog` shows them. Those of
    /// its ancestors are asked as well, and not listed.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`]: `EPERM` without CAP_NET_ADMIN.
    pub fn device_programs(&self) -> Result<Vec<u32>, Error> {
        sys::query_device_programs(self.dir())
            .map_err(|source| failed("BPF_PROG_QUERY", Some(self.dir()), source))
    }
}

fn failed(
    command: &'static str,
    group: Option<std::os::fd::BorrowedFd<'_>>,
    source: Errno,
) -> Error {
    Error::Bpf {
        command,
        path: group.map(path_of),
        source,
    }
}

// Instruction codes: class | operation | source.
const LDX_MEM_W: u8 = 0x61;
const ALU32_AND_K: u8 = 0x54;
const ALU32_RSH_K: u8 = 0x74;
const ALU32_MOV_X: u8 = 0xbc;
const ALU32_MOV_K: u8 = 0xb4;
const JMP32_JNE_K: u8 = 0x56;
const JMP32_JNE_X: u8 = 0x5e;
const EXIT: u8 = 0x95;

// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_DEVCG_DEV_*`.
fn type_bits(device_type: DeviceType) -> i32 {
    match device_type {
        DeviceType::Block => 1,
        DeviceType::Char => 2,
    }
}

/// `struct bpf_cgroup_dev_ctx` is `{ u32 access << 16 | type; u32 major; u32 minor }`.
fn compile(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut program = vec![
        Insn::new(LDX_MEM_W, TYPE, CONTEXT, 0, 0),
        Insn::new(ALU32_MOV_X, ACCESS, TYPE, 0, 0),
        Insn::new(ALU32_AND_K, TYPE, 0, 0, 0xffff),
        Insn::new(ALU32_RSH_K, ACCESS, 0, 0, 16),
        Insn::new(LDX_MEM_W, MAJOR, CONTEXT, 4, 0),
        Insn::new(LDX_MEM_W, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        let compiled = compile_rule(rule);
        let unconditional = compiled.len() == allow().len();
        program.extend(compiled);
        if unconditional {
            // The verifier refuses instructions that nothing can reach.
            return program;
        }
    }
    program.push(Insn::new(ALU32_MOV_K, RESULT, 0, 0, 0));
    program.push(Insn::new(EXIT, 0, 0, 0, 0));
    program
}

fn allow() -> [Insn; 2] {
    [
        Insn::new(ALU32_MOV_K, RESULT, 0, 0, 1),
        Insn::new(EXIT, 0, 0, 0, 0),
    ]
}

fn compile_rule(rule: &DeviceRule) -> Vec<Insn> {
    let mut checks = Vec::with_capacity(8);
    if let Some(device_type) = rule.device_type {
        checks.push(Insn::new(JMP32_JNE_K, TYPE, 0, 0, type_bits(device_type)));
    }
    if rule.access != Access::ALL {
        // All that is asked must be allowed: asked & allowed == asked. The context's register is
        // free by now.
        checks.push(Insn::new(ALU32_MOV_X, CONTEXT, ACCESS, 0, 0));
        checks.push(Insn::new(ALU32_AND_K, CONTEXT, 0, 0, rule.access.bits()));
        checks.push(Insn::new(JMP32_JNE_X, CONTEXT, ACCESS, 0, 0));
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            checks.push(Insn::new(JMP32_JNE_K, register, 0, 0, number.cast_signed()));
        }
    }
    checks.extend(allow());
    // A check that fails jumps behind the rule.
    let length = checks.len();
    for (at, insn) in checks.iter_mut().enumerate() {
        if matches!(insn.code, JMP32_JNE_K | JMP32_JNE_X) {
            insn.off = (length - at - 1) as i16;
        }
    }
    checks
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
