//! AppArmor profiles and SELinux labels that take effect on exec.
//!
//! The label is written by the child to a file of its own below `/proc/thread-self/attr`: the kernel takes
//! it from nobody else. The text is checked against the security modules that run ([`Lsms`]), because a
//! label nobody enforces is no confinement. See [`proc_pid_attr(5)`], AppArmor's `exec` command.
//!
//! `/proc` is looked at first: it must be a procfs, and the file must be reached without crossing a mount
//! or a magic link, so that a mount over it (CVE-2019-16884, CVE-2025-52881) is an error and not a
//! label written into nothing.
//!
//! [`proc_pid_attr(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_attr.5.html

use std::ffi::CStr;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::{Errno, write};

use crate::Error;

/// A label to change to on exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// The name of a loaded AppArmor profile.
    AppArmor(String),
    /// A SELinux context, `user:role:type:level`.
    SeLinux(String),
}

impl Label {
    pub(crate) fn prepare(&self, lsms: &Lsms) -> Result<LabelWrite, Error> {
        let (label, module, active, file, text) = match self {
            Self::AppArmor(profile) => (
                profile,
                "AppArmor",
                lsms.apparmor,
                c"thread-self/attr/apparmor/exec",
                format!("exec {profile}"),
            ),
            Self::SeLinux(context) => (
                context,
                "SELinux",
                lsms.selinux,
                c"thread-self/attr/exec",
                context.clone(),
            ),
        };
        if label.is_empty() || label.chars().any(char::is_control) {
            return Err(Error::Label {
                label: label.clone(),
            });
        }
        if !active {
            return Err(Error::LsmInactive {
                module,
                active: lsms.listed(),
            });
        }
        Ok(LabelWrite { file, text })
    }
}

/// A label ready to be written by the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelWrite {
    file: &'static CStr,
    text: String,
}

impl LabelWrite {
    pub(crate) fn describe(&self) -> String {
        let file = self.file.to_string_lossy();
        format!(
            "write({{/proc/{file}}}, {:?}, {})",
            self.text,
            self.text.len()
        )
    }

    pub(crate) fn apply(&self) -> Result<(), Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = openat(CWD, c"/proc", directory, Mode::empty())?;
        if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::NODEV);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat2(&proc, self.file, flags, Mode::empty(), resolve)?;
        if write(&file, self.text.as_bytes())? != self.text.len() {
            return Err(Errno::IO);
        }
        Ok(())
    }

    pub(crate) fn hint(errno: Errno) -> Option<&'static str> {
        match errno {
            Errno::NODEV => Some("/proc of the container is not a procfs"),
            Errno::XDEV => Some("something is mounted over /proc/PID/attr in the container"),
            Errno::NOENT => Some(
                "no such AppArmor profile is loaded (apparmor_parser -r), or /proc lacks attr/",
            ),
            Errno::INVAL => Some("the security module does not know this label"),
            Errno::ACCESS | Errno::PERM => {
                Some("the policy the engine itself runs under forbids the change of label")
            }
            _ => None,
        }
    }
}

/// Which security modules with labels are running.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lsms {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled and its file system mounted.
    pub selinux: bool,
    /// All modules, in the kernel's order, as `/sys/kernel/security/lsm` lists them; empty when that
    /// cannot be read (securityfs is not mounted).
    pub list: Vec<String>,
}

impl Lsms {
    /// Reads `kernel/security/lsm`, `module/apparmor/parameters/enabled` and `fs/selinux/enforce` below
    /// `sys`, normally `/sys`. Whatever cannot be read counts as not active.
    pub fn observe(sys: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(sys.join(name)).ok();
        Self::parse(
            read("kernel/security/lsm").as_deref(),
            read("module/apparmor/parameters/enabled").as_deref(),
            read("fs/selinux/enforce").as_deref(),
        )
    }

    /// From the text of the three files, `None` for one that is not there. A module in the kernel's list
    /// runs, but SELinux labels nothing before its policy is loaded, hence the third file.
    pub fn parse(lsm: Option<&str>, apparmor: Option<&str>, selinux: Option<&str>) -> Self {
        let list: Vec<String> = lsm
            .unwrap_or_default()
            .trim()
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let listed = |name: &str| list.is_empty() || list.iter().any(|one| one == name);
        Self {
            apparmor: apparmor.is_some_and(|text| text.trim() == "Y") && listed("apparmor"),
            selinux: selinux.is_some() && listed("selinux"),
            list,
        }
    }

    fn listed(&self) -> String {
        if self.list.is_empty() {
            return "not known, /sys/kernel/security/lsm cannot be read".to_owned();
        }
        self.list.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_active_only_when_all_their_files_say_so() {
        let parse = |lsm, apparmor, selinux| {
            let lsms = Lsms::parse(lsm, apparmor, selinux);
            (lsms.apparmor, lsms.selinux)
        };
        assert_eq!(
            parse(Some("lockdown,yama,apparmor\n"), Some("Y\n"), None),
            (true, false)
        );
        assert_eq!(
            parse(Some("capability,selinux"), None, Some("1")),
            (false, true)
        );
        assert_eq!(parse(None, Some("Y\n"), None), (true, false));
        assert_eq!(
            parse(Some("lockdown,yama"), Some("N\n"), None),
            (false, false)
        );
        assert_eq!(
            parse(Some("capability,selinux"), None, None),
            (false, false)
        );
        assert_eq!(parse(None, None, None), (false, false));
    }

    #[test]
    fn a_label_without_its_module_is_an_error_that_lists_the_active_ones() {
        let lsms = Lsms::parse(Some("capability,landlock"), None, None);
        let error = Label::AppArmor("web".to_owned())
            .prepare(&lsms)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "AppArmor is not active in this kernel (active: capability,landlock)"
        );
    }

    #[test]
    fn a_label_with_a_newline_is_refused() {
        let lsms = Lsms {
            apparmor: true,
            selinux: true,
            list: Vec::new(),
        };
        for label in ["", "a\nb", "a\0b"] {
            let refused = Label::SeLinux(label.to_owned()).prepare(&lsms);
            assert!(matches!(refused, Err(Error::Label { .. })), "{label:?}");
        }
    }

    #[test]
    fn the_command_for_apparmor_is_exec_and_the_profile() {
        let lsms = Lsms {
            apparmor: true,
            selinux: false,
            list: Vec::new(),
        };
        let write = Label::AppArmor("ctr-default".to_owned())
            .prepare(&lsms)
            .unwrap();
        assert_eq!(
            write.describe(),
            "write({/proc/thread-self/attr/apparmor/exec}, \"exec ctr-default\", 16)"
        );
    }
}
