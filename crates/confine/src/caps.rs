//! Capabilities by name and as sets, [`capabilities(7)`].
//!
//! The numbers are the kernel's (`include/uapi/linux/capability.h`); 41 of them since Linux 5.9. A newer
//! kernel may have more: [`last_supported`] asks it, so that the bounding set is cut completely.
//! Everything here is plain data but that one question, which needs no privilege.
//!
//! [`capabilities(7)`]: https://man7.org/linux/man-pages/man7/capabilities.7.html

use std::fmt;

use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};

use crate::Error;

/// One capability, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

macro_rules! capabilities {
    ($($name:ident = $number:literal,)*) => {
        /// The capabilities this crate has names for, by number.
        const NAMES: &[&str] = &[$(concat!("CAP_", stringify!($name)),)*];

        impl Capability {
            $(
                #[doc = concat!("`CAP_", stringify!($name), "`")]
                pub const $name: Self = Self($number);
            )*
        }
    };
}

capabilities! {
    CHOWN = 0,
    DAC_OVERRIDE = 1,
    DAC_READ_SEARCH = 2,
    FOWNER = 3,
    FSETID = 4,
    KILL = 5,
    SETGID = 6,
    SETUID = 7,
    SETPCAP = 8,
    LINUX_IMMUTABLE = 9,
    NET_BIND_SERVICE = 10,
    NET_BROADCAST = 11,
    NET_ADMIN = 12,
    NET_RAW = 13,
    IPC_LOCK = 14,
    IPC_OWNER = 15,
    SYS_MODULE = 16,
    SYS_RAWIO = 17,
    SYS_CHROOT = 18,
    SYS_PTRACE = 19,
    SYS_PACCT = 20,
    SYS_ADMIN = 21,
    SYS_BOOT = 22,
    SYS_NICE = 23,
    SYS_RESOURCE = 24,
    SYS_TIME = 25,
    SYS_TTY_CONFIG = 26,
    MKNOD = 27,
    LEASE = 28,
    AUDIT_WRITE = 29,
    AUDIT_CONTROL = 30,
    SETFCAP = 31,
    MAC_OVERRIDE = 32,
    MAC_ADMIN = 33,
    SYSLOG = 34,
    WAKE_ALARM = 35,
    BLOCK_SUSPEND = 36,
    AUDIT_READ = 37,
    PERFMON = 38,
    BPF = 39,
    CHECKPOINT_RESTORE = 40,
}

impl Capability {
    /// The last capability this crate has a name for.
    pub const LAST: Self = Self::CHECKPOINT_RESTORE;

    /// A capability by number, named or not; the kernel keeps 64 bits.
    pub fn from_number(number: u8) -> Option<Self> {
        (number < 64).then_some(Self(number))
    }

    /// A capability by name: `NET_RAW` or `CAP_NET_RAW`, upper or lower case.
    ///
    /// # Errors
    /// [`Error::UnknownCapability`] with the names that come near.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES
            .iter()
            .position(|known| known["CAP_".len()..] == *bare)
        {
            Some(number) => Ok(Self(number as u8)),
            None => Err(Error::UnknownCapability {
                name: name.to_owned(),
                near: crate::near::names(bare, NAMES.iter().map(|known| &known["CAP_".len()..])),
            }),
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name with `CAP_`, when it has one.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }
}

/// As the kernel's headers spell it, `CAP_NET_RAW`; a number when there is no name yet.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// Every capability this crate has a name for.
    pub const ALL: Self = Self((1 << (Capability::LAST.0 + 1)) - 1);

    /// What a container gets when nothing is asked for. Eight, a subset of Docker's fourteen: with them
    /// the entrypoints of common images can take over files and change to their own user.
    ///
    /// Left out: `NET_RAW` (forged packets; ping works through `ping_group_range`), `MKNOD` (useless in a
    /// user namespace), `AUDIT_WRITE`, `SETFCAP` (image builds only), `SYS_CHROOT` (escapes from chroots;
    /// sshd wants it) and `NET_BIND_SERVICE` (`ip_unprivileged_port_start` replaces it).
    pub const DEFAULT: Self = Self::of(&[
        Capability::CHOWN,
        Capability::DAC_OVERRIDE,
        Capability::FOWNER,
        Capability::FSETID,
        Capability::KILL,
        Capability::SETGID,
        Capability::SETUID,
        Capability::SETPCAP,
    ]);

    /// The set of these.
    pub const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < capabilities.len() {
            bits |= 1 << capabilities[i].0;
            i += 1;
        }
        Self(bits)
    }

    /// The set with bit n standing for capability n, as in `/proc/PID/status`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit n stands for capability n.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set a name stands for: one capability, or all of them for `ALL`.
    ///
    /// # Errors
    /// [`Error::UnknownCapability`].
    pub fn from_name(name: &str) -> Result<Self, Error> {
        if name.eq_ignore_ascii_case("ALL") {
            return Ok(Self::ALL);
        }
        Capability::from_name(name).map(Self::from)
    }

    /// The set of all these names.
    ///
    /// # Errors
    /// [`Error::UnknownCapability`] for the first name that is not one.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        names.into_iter().try_fold(Self::EMPTY, |set, name| {
            Ok(set.union(Self::from_name(name)?))
        })
    }

    /// In it?
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Nothing in it?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Is everything in it also in `other`?
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// What is in one of them.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one only.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64)
            .map(Capability)
            .filter(move |&capability| self.contains(capability))
    }

    pub(crate) fn to_rustix(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

impl From<Capability> for CapSet {
    fn from(capability: Capability) -> Self {
        Self(1 << capability.0)
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter()
            .fold(Self::EMPTY, |set, one| set.union(one.into()))
    }
}

/// As strace prints it, `1<<CAP_CHOWN|1<<CAP_KILL`, and `0` when empty.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("0");
        }
        for (i, capability) in self.iter().enumerate() {
            let bar = if i == 0 { "" } else { "|" };
            write!(f, "{bar}1<<{capability}")?;
        }
        Ok(())
    }
}

/// The five sets of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What counts in permission checks.
    pub effective: CapSet,
    /// What may be made effective.
    pub permitted: CapSet,
    /// What passes to files with inheritable capabilities. Empty unless OCI's config asks: a
    /// non-empty one let programs gain rights in a dozen runtimes (CVE-2022-29162 and its siblings).
    pub inheritable: CapSet,
    /// The most execve can ever give.
    pub bounding: CapSet,
    /// What a program without file capabilities keeps over execve although it is not root.
    pub ambient: CapSet,
}

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self {
        effective: CapSet::EMPTY,
        permitted: CapSet::EMPTY,
        inheritable: CapSet::EMPTY,
        bounding: CapSet::EMPTY,
        ambient: CapSet::EMPTY,
    };

    /// What Docker makes of one list: root has all of `set`, another user has none but may get at
    /// most these from programs with file capabilities.
    pub fn for_user(set: CapSet, uid: u32) -> Self {
        let own = if uid == 0 { set } else { CapSet::EMPTY };
        Self {
            effective: own,
            permitted: own,
            bounding: set,
            ..Self::NONE
        }
    }

    /// Checks what the kernel would refuse with a bare EPERM.
    ///
    /// # Errors
    /// [`Error::Capabilities`] naming the set that is too large and what it must lie in.
    pub fn check(&self) -> Result<(), Error> {
        let rules = [
            ("effective", self.effective, "permitted", self.permitted),
            ("ambient", self.ambient, "permitted", self.permitted),
            ("ambient", self.ambient, "inheritable", self.inheritable),
            ("inheritable", self.inheritable, "bounding", self.bounding),
        ];
        for (set, members, within, limit) in rules {
            if !members.is_subset(limit) {
                return Err(Error::Capabilities {
                    set,
                    within,
                    extra: members.difference(limit),
                });
            }
        }
        Ok(())
    }
}

/// The last capability the running kernel knows: from it on `PR_CAPBSET_READ` is EINVAL.
///
/// # Kernel
/// [`PR_CAPBSET_READ(2const)`](https://man7.org/linux/man-pages/man2/PR_CAPBSET_READ.2const.html); no
/// privilege, no file.
pub fn last_supported() -> Capability {
    let mut last = Capability::LAST;
    while let Some(next) = Capability::from_number(last.0 + 1) {
        if capability_is_in_bounding_set(CapSet::from(next).to_rustix()).is_err() {
            break;
        }
        last = next;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_prefix_in_any_case() {
        for name in ["NET_RAW", "CAP_NET_RAW", "cap_net_raw", "net_raw"] {
            assert_eq!(
                Capability::from_name(name).ok(),
                Some(Capability::NET_RAW),
                "{name}"
            );
        }
    }

    #[test]
    fn the_numbers_are_the_places_in_the_table() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(
                usize::from(Capability::from_name(name).unwrap().number()),
                number
            );
        }
        assert_eq!(NAMES.len(), usize::from(Capability::LAST.number()) + 1);
    }

    #[test]
    fn an_unknown_name_is_refused_with_what_comes_near() {
        let error = Capability::from_name("NET_ROW").unwrap_err();
        let Error::UnknownCapability { name, near } = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (name.as_str(), near.first().copied()),
            ("NET_ROW", Some("NET_RAW"))
        );
    }

    #[test]
    fn all_is_every_named_capability() {
        assert_eq!(CapSet::from_name("ALL").unwrap(), CapSet::ALL);
        assert_eq!(CapSet::ALL.iter().count(), 41);
    }

    #[test]
    fn the_default_is_a_strict_subset_of_dockers() {
        let docker = CapSet::from_names([
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ])
        .unwrap();
        assert!(CapSet::DEFAULT.is_subset(docker) && CapSet::DEFAULT != docker);
        assert_eq!(CapSet::DEFAULT.iter().count(), 8);
    }

    #[test]
    fn an_ambient_set_beyond_the_inheritable_one_is_refused() {
        let raw = CapSet::from(Capability::NET_RAW);
        let asked = Capabilities {
            ambient: raw,
            permitted: raw,
            bounding: raw,
            ..Capabilities::NONE
        };
        let error = asked.check().unwrap_err();
        assert!(
            matches!(error, Error::Capabilities { set: "ambient", within: "inheritable", extra } if extra == raw)
        );
    }
}
