//! Architectures and their system call numbers.
//!
//! The tables come from the crate `syscalls`, which is generated from the kernel's; what is corrected
//! here was found by comparing them with libseccomp's (see tests/oracle.rs).

use std::str::FromStr;

use syscalls::{
    aarch64, arm, loongarch64, mips, mips64, powerpc, powerpc64, riscv32, riscv64, s390x, sparc,
    sparc64, x86, x86_64,
};

/// An architecture filters are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// `AUDIT_ARCH_X86_64`; x32's numbers have bit 30 set and are refused.
    X86_64,
    /// `AUDIT_ARCH_AARCH64`
    Aarch64,
}

/// Numbers all architectures share, newer than the tables: Linux 6.19 and 7.0.
const NEWER: [(u32, &str); 2] = [(470, "listns"), (471, "rseq_slice_yield")];

/// The 32-bit architectures' calls with 64-bit times (asm-generic/unistd.h), which the table for aarch64
/// lists although a 64-bit kernel does not have them.
const TIME64: std::ops::RangeInclusive<u32> = 403..=423;

/// Names that are in none of the tables but in profiles: private calls of 32-bit ARM, and a name libseccomp
/// knows.
const ELSEWHERE: [&str; 8] = [
    "arm_sync_file_range",
    "breakpoint",
    "cacheflush",
    "fstatat64",
    "get_tls",
    "set_tls",
    "usr26",
    "usr32",
];

impl Arch {
    /// The one this program was compiled for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The one this program was compiled for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// `AUDIT_ARCH_*`, include/uapi/linux/audit.h: the ELF machine, 64 bit, little endian.
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// As OCI's config spells it, `SCMP_ARCH_X86_64`.
    pub const fn scmp_name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
        }
    }

    /// As Go and Docker's profiles spell it, `amd64`.
    pub const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The highest number that has a name.
    pub fn last(self) -> u32 {
        NEWER[NEWER.len() - 1].0
    }

    /// The name of a number.
    pub fn name(self, number: u32) -> Option<&'static str> {
        if let Some((_, name)) = NEWER.iter().find(|(newer, _)| *newer == number) {
            return Some(name);
        }
        match self {
            Self::X86_64 => x86_64::Sysno::new(number as usize).map(|sysno| sysno.name()),
            Self::Aarch64 if TIME64.contains(&number) => None,
            Self::Aarch64 => {
                let name = aarch64::Sysno::new(number as usize)?.name();
                // The kernel's unistd.h says __NR3264_fstatat, and newfstatat where it is 64 bit.
                Some(if name == "fstatat" {
                    "newfstatat"
                } else {
                    name
                })
            }
        }
    }

    /// The number of a name.
    pub fn number(self, name: &str) -> Option<u32> {
        (0..=self.last()).find(|&number| self.name(number) == Some(name))
    }

    /// All names with their numbers.
    pub fn syscalls(self) -> impl Iterator<Item = (u32, &'static str)> {
        (0..=self.last()).filter_map(move |number| Some((number, self.name(number)?)))
    }
}

/// Does any architecture have such a call?
pub(crate) fn is_known(name: &str) -> bool {
    macro_rules! any_table {
        ($($arch:ident),*) => { $($arch::Sysno::from_str(name).is_ok())||* };
    }
    any_table!(
        x86_64,
        aarch64,
        x86,
        arm,
        riscv64,
        riscv32,
        s390x,
        powerpc64,
        powerpc,
        loongarch64,
        mips64,
        mips,
        sparc64,
        sparc
    ) || ELSEWHERE.contains(&name)
        || NEWER.iter().any(|(_, newer)| *newer == name)
        || name == "newfstatat"
}

/// Names of the architectures filters are made for that come near.
pub(crate) fn near(name: &str) -> Vec<&'static str> {
    let all = Arch::X86_64
        .syscalls()
        .chain(Arch::Aarch64.syscalls())
        .map(|(_, name)| name);
    crate::near::names(name, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_numbers_are_right() {
        assert_eq!(Arch::X86_64.number("read"), Some(0));
        assert_eq!(Arch::X86_64.number("clone3"), Some(435));
        assert_eq!(Arch::X86_64.number("newfstatat"), Some(262));
        assert_eq!(Arch::Aarch64.number("read"), Some(63));
        assert_eq!(Arch::Aarch64.number("newfstatat"), Some(79));
        assert_eq!(Arch::Aarch64.number("clone3"), Some(435));
        assert_eq!(Arch::Aarch64.number("clock_gettime64"), None);
        assert_eq!(Arch::Aarch64.number("open"), None);
    }

    #[test]
    fn names_of_other_architectures_are_known_and_misspelt_ones_are_not() {
        for name in [
            "socketcall",
            "_llseek",
            "s390_pci_mmio_read",
            "breakpoint",
            "riscv_hwprobe",
        ] {
            assert!(is_known(name), "{name}");
        }
        assert!(!is_known("clone33") && !is_known(""));
        assert!(near("clone33").contains(&"clone3"));
    }
}
