//! The eight kinds of namespace, [`namespaces(7)`].
//!
//! [`namespaces(7)`]: https://man7.org/linux/man-pages/man7/namespaces.7.html

use std::fmt;

use bitflags::bitflags;

bitflags! {
    /// A set of namespace kinds, with the values of `CLONE_NEW*`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    pub struct Namespaces: u32 {
        /// Clocks that count from boot, `time_namespaces(7)`, since Linux 5.6.
        const NEWTIME = 0x0000_0080;
        /// Mounts, `mount_namespaces(7)`.
        const NEWNS = 0x0002_0000;
        /// The root of the cgroup hierarchy as seen in `/proc`, `cgroup_namespaces(7)`, since Linux 4.6.
        const NEWCGROUP = 0x0200_0000;
        /// Host name and NIS domain, `uts_namespaces(7)`.
        const NEWUTS = 0x0400_0000;
        /// System V IPC and POSIX message queues, `ipc_namespaces(7)`.
        const NEWIPC = 0x0800_0000;
        /// User and group ids, capabilities, keyrings, `user_namespaces(7)`.
        const NEWUSER = 0x1000_0000;
        /// Process ids, `pid_namespaces(7)`.
        const NEWPID = 0x2000_0000;
        /// Network devices, addresses, routes, ports, firewall, `network_namespaces(7)`.
        const NEWNET = 0x4000_0000;
    }
}

impl Namespaces {
    /// The file in `/proc/PID/ns/` of a single kind; `None` for a set of several or of none.
    #[must_use]
    pub fn proc_name(self) -> Option<&'static str> {
        Some(match self {
            Self::NEWTIME => "time",
            Self::NEWNS => "mnt",
            Self::NEWCGROUP => "cgroup",
            Self::NEWUTS => "uts",
            Self::NEWIPC => "ipc",
            Self::NEWUSER => "user",
            Self::NEWPID => "pid",
            Self::NEWNET => "net",
            _ => return None,
        })
    }

    /// The sysctl that limits how many of a single kind may exist, `namespaces(7)`.
    #[must_use]
    pub fn limit_sysctl(self) -> Option<String> {
        self.proc_name()
            .map(|name| format!("user.max_{name}_namespaces"))
    }
}

/// As strace prints it: `CLONE_NEWNS|CLONE_NEWPID`, `0` for none.
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("0");
        }
        for (index, (name, _)) in self.iter_names().enumerate() {
            write!(f, "{}CLONE_{name}", if index == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_kernel() {
        for (ours, kernel) in [
            (Namespaces::NEWTIME, libc::CLONE_NEWTIME),
            (Namespaces::NEWNS, libc::CLONE_NEWNS),
            (Namespaces::NEWCGROUP, libc::CLONE_NEWCGROUP),
            (Namespaces::NEWUTS, libc::CLONE_NEWUTS),
            (Namespaces::NEWIPC, libc::CLONE_NEWIPC),
            (Namespaces::NEWUSER, libc::CLONE_NEWUSER),
            (Namespaces::NEWPID, libc::CLONE_NEWPID),
            (Namespaces::NEWNET, libc::CLONE_NEWNET),
        ] {
            assert_eq!(ours.bits(), kernel as u32);
        }
    }

    #[test]
    fn a_set_prints_as_strace_does() {
        assert_eq!(
            (Namespaces::NEWPID | Namespaces::NEWNS).to_string(),
            "CLONE_NEWNS|CLONE_NEWPID"
        );
        assert_eq!(Namespaces::empty().to_string(), "0");
    }

    #[test]
    fn every_kind_has_a_file_in_proc_and_sets_have_none() {
        for kind in Namespaces::all().iter() {
            let name = kind.proc_name().expect("a single kind");
            assert!(
                std::fs::exists(format!("/proc/self/ns/{name}")).expect("/proc"),
                "{name}"
            );
        }
        assert_eq!(Namespaces::all().proc_name(), None);
    }
}
