//! The controllers of cgroup v2, and sets of them.
//!
//! Names are those of `cgroup.controllers`; see the kernel's [cgroup-v2] document, "Controllers".
//!
//! [cgroup-v2]: https://docs.kernel.org/admin-guide/cgroup-v2.html

use std::fmt;

macro_rules! controllers {
    ($($(#[$doc:meta])* $name:ident = $text:literal, v1 $v1:literal;)*) => {
        /// A controller of cgroup v2.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Controller {
            $($(#[$doc])* $name,)*
        }

        impl Controller {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As in `cgroup.controllers`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the same subsystem is called as a mount option of cgroup v1.
            pub fn v1_name(self) -> &'static str {
                match self { $(Self::$name => $v1,)* }
            }
        }
    };
}

controllers! {
    /// CPU time: `cpu.max`, `cpu.weight`.
    Cpu = "cpu", v1 "cpu";
    /// Which CPUs and memory nodes: `cpuset.cpus`.
    Cpuset = "cpuset", v1 "cpuset";
    /// Block devices: `io.max`.
    Io = "io", v1 "blkio";
    /// Memory and swap: `memory.max`.
    Memory = "memory", v1 "memory";
    /// Huge pages: `hugetlb.2MB.max`.
    Hugetlb = "hugetlb", v1 "hugetlb";
    /// Number of processes and threads: `pids.max`.
    Pids = "pids", v1 "pids";
    /// RDMA handles: `rdma.max`.
    Rdma = "rdma", v1 "rdma";
    /// Scarce things without a controller of their own: `misc.max`.
    Misc = "misc", v1 "misc";
    /// Device memory (of GPUs), since Linux 6.14: `dmem.max`.
    Dmem = "dmem", v1 "dmem";
}

impl Controller {
    /// The controller of this name in `cgroup.controllers`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }

    /// The controller that owns an interface file: `memory.max` is of [`Controller::Memory`],
    /// `cgroup.procs` of none.
    pub fn of_file(file: &str) -> Option<Self> {
        file.split_once('.')
            .and_then(|(prefix, _)| Self::by_name(prefix))
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of controllers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Controllers(u16);

impl Controllers {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// Reads `cgroup.controllers` or `cgroup.subtree_control`: names between blanks. Names this
    /// crate has no limits for (`perf_event` never shows up there, future ones may) are left out.
    pub fn parse(text: &str) -> Self {
        text.split_ascii_whitespace()
            .filter_map(Controller::by_name)
            .collect()
    }

    /// Whether it is in the set.
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & controller.bit() != 0
    }

    /// Whether all of `other` are in the set.
    pub fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Adds one.
    pub fn insert(&mut self, controller: Controller) {
        self.0 |= controller.bit();
    }

    /// Those in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in here and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One after the other, in the order of [`Controller::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL
            .iter()
            .copied()
            .filter(move |c| self.contains(*c))
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(iter: I) -> Self {
        let mut set = Self::EMPTY;
        iter.into_iter().for_each(|c| set.insert(c));
        set
    }
}

impl From<Controller> for Controllers {
    fn from(controller: Controller) -> Self {
        Self(controller.bit())
    }
}

/// Names between blanks, as in `cgroup.controllers`.
impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, controller) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(controller.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controllers({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_s_list_is_read_and_unknown_names_are_left_out() {
        let set = Controllers::parse("cpuset cpu io memory hugetlb pids rdma misc dmem future\n");
        assert_eq!(set.iter().count(), 9);
        assert_eq!(
            set.to_string(),
            "cpu cpuset io memory hugetlb pids rdma misc dmem"
        );
        assert_eq!(Controllers::parse("\n"), Controllers::EMPTY);
    }

    #[test]
    fn the_controller_of_a_file_is_its_prefix() {
        assert_eq!(
            Controller::of_file("cpuset.cpus.partition"),
            Some(Controller::Cpuset)
        );
        assert_eq!(
            Controller::of_file("hugetlb.2MB.max"),
            Some(Controller::Hugetlb)
        );
        assert_eq!(Controller::of_file("cgroup.procs"), None);
        assert_eq!(Controller::of_file("memory"), None);
    }

    #[test]
    fn set_operations_are_those_of_sets() {
        let a = Controllers::parse("cpu memory");
        let b = Controllers::parse("memory pids");
        assert_eq!(a.union(b), Controllers::parse("cpu memory pids"));
        assert_eq!(a.intersection(b), Controller::Memory.into());
        assert_eq!(a.without(b), Controller::Cpu.into());
        assert!(a.union(b).contains_all(a) && !a.contains_all(b));
    }

    proptest! {
        #[test]
        fn a_set_survives_its_own_spelling(bits in 0u16..(1 << 9)) {
            let set = Controllers(bits);
            prop_assert_eq!(Controllers::parse(&set.to_string()), set);
        }

        #[test]
        fn any_text_is_a_set(text in "\\PC{0,200}") {
            let _ = Controllers::parse(&text);
        }
    }
}
