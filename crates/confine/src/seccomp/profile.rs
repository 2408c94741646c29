//! The model: which calls, under which conditions, get which answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustix::io::Errno;

use super::{Arch, SyscallData};
use crate::Error;

/// What the kernel does with a call. The highest in this order wins when several filters are stacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// `SECCOMP_RET_KILL_PROCESS`: as if by SIGSYS, uncatchable.
    KillProcess,
    /// `SECCOMP_RET_KILL_THREAD`
    KillThread,
    /// `SECCOMP_RET_TRAP`: SIGSYS; the number is its `si_errno`.
    Trap(u16),
    /// `SECCOMP_RET_ERRNO`: the call fails with this errno, at most 4095; 0 is success.
    Errno(u16),
    /// `SECCOMP_RET_USER_NOTIF`: asks the listener.
    Notify,
    /// `SECCOMP_RET_TRACE`: asks the ptrace tracer, who gets the number; ENOSYS without one.
    Trace(u16),
    /// `SECCOMP_RET_LOG`: allowed and logged.
    Log,
    /// `SECCOMP_RET_ALLOW`
    Allow,
}

impl Action {
    /// Fails with EPERM: known, and not permitted.
    pub const EPERM: Self = Self::Errno(Errno::PERM.raw_os_error() as u16);
    /// Fails with ENOSYS: programs take it for an older kernel and fall back.
    pub const ENOSYS: Self = Self::Errno(Errno::NOSYS.raw_os_error() as u16);

    /// The filter's return value, include/uapi/linux/seccomp.h.
    pub const fn to_ret(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap(data) => 0x0003_0000 | data as u32,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(data) => 0x7ff0_0000 | data as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// Does the call go through without anybody being asked?
    pub const fn is_permissive(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// A comparison of a 64-bit argument, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `arg == value`
    Eq(u64),
    /// `arg != value`
    Ne(u64),
    /// `arg < value`
    Lt(u64),
    /// `arg <= value`
    Le(u64),
    /// `arg > value`
    Gt(u64),
    /// `arg >= value`
    Ge(u64),
    /// `arg & mask == value`. With the mask `0xffff_ffff` only the 32 bits are looked at that the kernel
    /// itself looks at when the parameter is an int: anything else can be bypassed by setting a high bit
    /// (CVE-2019-10063).
    MaskedEq {
        /// The bits that are looked at.
        mask: u64,
        /// What they must be; bits outside of the mask make it never true.
        value: u64,
    },
}

impl Comparison {
    /// Does it hold?
    pub const fn holds(self, arg: u64) -> bool {
        match self {
            Self::Eq(value) => arg == value,
            Self::Ne(value) => arg != value,
            Self::Lt(value) => arg < value,
            Self::Le(value) => arg <= value,
            Self::Gt(value) => arg > value,
            Self::Ge(value) => arg >= value,
            Self::MaskedEq { mask, value } => arg & mask == value,
        }
    }
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub arg: u8,
    /// Compared how.
    pub is: Comparison,
}

impl Condition {
    /// The lower 32 bits of an argument are `value`: for parameters that are an int.
    pub const fn int_is(arg: u8, value: u32) -> Self {
        Self {
            arg,
            is: Comparison::MaskedEq {
                mask: 0xffff_ffff,
                value: value as u64,
            },
        }
    }
}

/// An answer, and when it is given: all the conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The answer.
    pub action: Action,
    /// When; empty is always.
    pub conditions: Vec<Condition>,
}

impl Rule {
    /// The answer in any case.
    pub const fn always(action: Action) -> Self {
        Self {
            action,
            conditions: Vec::new(),
        }
    }

    pub(crate) fn holds(&self, data: &SyscallData) -> bool {
        self.conditions
            .iter()
            .all(|one| one.is.holds(data.args[usize::from(one.arg)]))
    }
}

/// Flags of seccomp(2) for the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// `SECCOMP_FILTER_FLAG_TSYNC`: for all threads.
    pub tsync: bool,
    /// `SECCOMP_FILTER_FLAG_LOG`: log every answer but allow.
    pub log: bool,
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no speculation barriers (without meaning since Linux 5.16).
    pub spec_allow: bool,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (5.19): a call the listener has taken up can only be
    /// interrupted by a fatal signal. Only with a listener.
    pub wait_killable_recv: bool,
}

impl Flags {
    /// None of them.
    pub const NONE: Self = Self {
        tsync: false,
        log: false,
        spec_allow: false,
        wait_killable_recv: false,
    };
}

/// A filter before it is compiled. For one call the rules are tried in order, the first that holds
/// answers; when none does, the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// For calls without a rule that holds.
    pub default_action: Action,
    /// For numbers this crate has no name for: newer than it, or never given out.
    pub unknown_action: Action,
    /// For calls through another architecture's ABI.
    pub foreign_action: Action,
    /// How the filter is installed.
    pub flags: Flags,
    pub(crate) rules: BTreeMap<Cow<'static, str>, Vec<Rule>>,
}

impl Profile {
    /// Without rules. Numbers without a name get ENOSYS, unless the default is to let everything
    /// through; foreign calls get ENOSYS.
    pub fn new(default_action: Action) -> Self {
        let permissive = default_action.is_permissive();
        Self {
            default_action,
            unknown_action: if permissive {
                default_action
            } else {
                Action::ENOSYS
            },
            foreign_action: Action::ENOSYS,
            flags: Flags::default(),
            rules: BTreeMap::new(),
        }
    }

    /// Adds a rule after the others of the same call. A name that only other architectures have is taken
    /// and has no effect.
    ///
    /// # Errors
    /// [`Error::UnknownSyscall`] with the names that come near; [`Error::Argument`] beyond the sixth;
    /// [`Error::ErrnoRange`] above 4095.
    pub fn add(&mut self, syscall: &str, rule: Rule) -> Result<(), Error> {
        if !super::is_known(syscall) {
            let near = super::arch::near(syscall);
            return Err(Error::UnknownSyscall {
                name: syscall.to_owned(),
                near,
            });
        }
        if let Some(wrong) = rule.conditions.iter().find(|condition| condition.arg > 5) {
            let index = u32::from(wrong.arg);
            return Err(Error::Argument {
                syscall: syscall.to_owned(),
                index,
            });
        }
        if let Action::Errno(errno @ 4096..) = rule.action {
            return Err(Error::ErrnoRange {
                value: u32::from(errno),
            });
        }
        self.add_known(Cow::Owned(syscall.to_owned()), rule);
        Ok(())
    }

    pub(crate) fn add_known(&mut self, syscall: Cow<'static, str>, rule: Rule) {
        self.rules.entry(syscall).or_default().push(rule);
    }

    /// The calls that have rules.
    pub fn syscalls(&self) -> impl Iterator<Item = (&str, &[Rule])> {
        self.rules
            .iter()
            .map(|(name, rules)| (name.as_ref(), rules.as_slice()))
    }

    /// The answer to a call on `arch`, by the model and not by a filter.
    pub fn decide(&self, arch: Arch, data: &SyscallData) -> Action {
        if data.arch != arch.audit() || (arch == Arch::X86_64 && data.nr >= super::compile::X32_BIT)
        {
            return self.foreign_action;
        }
        let Some(name) = arch.name(data.nr) else {
            return self.unknown_action;
        };
        let rules = self.rules.get(name).map_or(&[][..], Vec::as_slice);
        rules
            .iter()
            .find(|rule| rule.holds(data))
            .map_or(self.default_action, |rule| rule.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_call_is_an_error_with_what_comes_near() {
        let error = Profile::new(Action::Allow).add("opennat2", Rule::always(Action::EPERM));
        assert!(matches!(error, Err(Error::UnknownSyscall { near, .. }) if near[0] == "openat2"));
    }

    #[test]
    fn a_seventh_argument_and_a_huge_errno_are_refused() {
        let mut profile = Profile::new(Action::Allow);
        let rule = Rule {
            action: Action::EPERM,
            conditions: vec![Condition::int_is(6, 0)],
        };
        assert!(matches!(
            profile.add("read", rule),
            Err(Error::Argument { index: 6, .. })
        ));
        let rule = Rule::always(Action::Errno(4096));
        assert!(matches!(
            profile.add("read", rule),
            Err(Error::ErrnoRange { value: 4096 })
        ));
    }

    #[test]
    fn the_first_rule_that_holds_answers() {
        let mut profile = Profile::new(Action::EPERM);
        let rule = Rule {
            action: Action::Errno(5),
            conditions: vec![Condition::int_is(0, 7)],
        };
        profile.add("ioctl", rule).unwrap();
        profile.add("ioctl", Rule::always(Action::Allow)).unwrap();
        let nr = Arch::X86_64.number("ioctl").unwrap();
        let decide = |arg| {
            let data = SyscallData {
                args: [arg, 0, 0, 0, 0, 0],
                ..SyscallData::of(Arch::X86_64, nr)
            };
            profile.decide(Arch::X86_64, &data)
        };
        assert_eq!(decide(7), Action::Errno(5));
        assert_eq!(decide(1 << 40 | 7), Action::Errno(5));
        assert_eq!(decide(8), Action::Allow);
    }
}
