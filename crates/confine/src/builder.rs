//! Puts the steps of a [`Confinement`] in order.

use std::cell::Cell;

use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitiesSecureBits;

use crate::confinement::{NO_FD, Step};
use crate::seccomp::Program;
use crate::{
    Abi, CapSet, Capabilities, Capability, Confinement, Error, IoPriority, Label, Landlock, Lsms,
    Personality, Rlimit, Scheduler,
};

/// Who the process becomes. Ids are those of its user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// The supplementary groups, exactly. `None`: not touched, for user namespaces where setgroups(2)
    /// is off.
    pub groups: Option<Vec<u32>>,
}

/// Collects what is asked for; the order of the calls does not matter. Nothing asked for is nothing done.
#[derive(Debug, Default)]
pub struct Builder {
    label: Option<(Label, Lsms)>,
    umask: Option<u32>,
    personality: Option<Personality>,
    scheduler: Option<Scheduler>,
    io_priority: Option<IoPriority>,
    landlock: Option<(Landlock, Abi)>,
    ids: Option<Ids>,
    capabilities: Option<Capabilities>,
    last_capability: Option<Capability>,
    bounding_is_cut: bool,
    no_new_privs: bool,
    rlimits: Vec<Rlimit>,
    seccomp: Option<Program>,
    listener: bool,
}

impl Confinement {
    /// Nothing asked for yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The bounding set cut down to `set`, and nothing else: a call for each capability that goes, about
    /// 1 µs each. For a process both the init and the workload descend from, which can do it while its
    /// parent writes the id maps; they then say so with [`Builder::bounding_is_cut`]. `last` as in
    /// [`Builder::last_capability`].
    pub fn bounding(set: CapSet, last: Capability) -> Self {
        Self::from_steps(bounding_steps(set, last))
    }

    fn from_steps(steps: Vec<Step>) -> Self {
        Self {
            steps,
            ruleset: Cell::new(NO_FD),
            listener: Cell::new(NO_FD),
        }
    }

    /// For a built-in init that shares a pid namespace with the workload and has to outlive it: the
    /// workload's ids, no capability but CAP_KILL, no_new_privs, the filter. The bounding set stays as it
    /// is: an init executes nothing, and no_new_privs lets no execve gain anything from it.
    ///
    /// CAP_KILL stays because the workload may change its user (an entrypoint that ends in
    /// `setpriv --reuid`): without it the stop signal could not be forwarded (EPERM). It holds for
    /// processes of the container only, as the capability is the user namespace's.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn init(ids: Ids, program: Program) -> Result<Self, Error> {
        let kill = CapSet::from(Capability::KILL);
        let capabilities = Capabilities {
            effective: kill,
            permitted: kill,
            bounding: kill,
            ..Capabilities::NONE
        };
        Self::builder()
            .ids(ids)
            .capabilities(capabilities)
            .bounding_is_cut()
            .no_new_privs(true)
            .seccomp(program)
            .build()
    }
}

fn bounding_steps(set: CapSet, last: Capability) -> Vec<Step> {
    (0..=last.number())
        .filter_map(Capability::from_number)
        .filter(|&capability| !set.contains(capability))
        .map(Step::DropBounding)
        .collect()
}

impl Builder {
    /// The label on exec. `lsms` says which modules run, see [`Lsms::observe`].
    #[must_use]
    pub fn label(mut self, label: Label, lsms: Lsms) -> Self {
        self.label = Some((label, lsms));
        self
    }

    /// The file mode creation mask.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask & 0o777);
        self
    }

    /// The execution domain.
    #[must_use]
    pub fn personality(mut self, personality: Personality) -> Self {
        self.personality = Some(personality);
        self
    }

    /// The CPU scheduler.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = Some(scheduler);
        self
    }

    /// The I/O priority.
    #[must_use]
    pub fn io_priority(mut self, priority: IoPriority) -> Self {
        self.io_priority = Some(priority);
        self
    }

    /// Landlock, as far as `abi` reaches; [`Landlock::unenforced`] says what is left out.
    #[must_use]
    pub fn landlock(mut self, landlock: Landlock, abi: Abi) -> Self {
        self.landlock = Some((landlock, abi));
        self
    }

    /// Who the process becomes.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = Some(ids);
        self
    }

    /// The five sets.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    /// The kernel's last capability, see [`last_supported`](crate::caps::last_supported), so that those
    /// without a name here leave the bounding set too. Default: the last with a name.
    #[must_use]
    pub fn last_capability(mut self, last: Capability) -> Self {
        self.last_capability = Some(last);
        self
    }

    /// The bounding set was cut before, see [`Confinement::bounding`]: no step for it.
    #[must_use]
    pub fn bounding_is_cut(mut self) -> Self {
        self.bounding_is_cut = true;
        self
    }

    /// `true`: no program executed from here on gains privileges.
    #[must_use]
    pub fn no_new_privs(mut self, on: bool) -> Self {
        self.no_new_privs = on;
        self
    }

    /// Adds a resource limit the process sets itself.
    #[must_use]
    pub fn rlimit(mut self, rlimit: Rlimit) -> Self {
        self.rlimits.push(rlimit);
        self
    }

    /// The system call filter.
    #[must_use]
    pub fn seccomp(mut self, program: Program) -> Self {
        self.seccomp = Some(program);
        self
    }

    /// Asks the kernel for the filter's listener; whoever runs the steps takes it from
    /// [`Confinement::listener`].
    #[must_use]
    pub fn listener(mut self) -> Self {
        self.listener = true;
        self
    }

    /// Checks everything and puts it in order.
    ///
    /// # Errors
    /// [`Error::Capabilities`], [`Error::RlimitOrder`], [`Error::LandlockPath`], [`Error::Label`],
    /// [`Error::LsmInactive`], [`Error::NoListener`].
    pub fn build(self) -> Result<Confinement, Error> {
        let mut steps = Vec::new();
        if let Some((label, lsms)) = &self.label {
            steps.push(Step::Label(label.prepare(lsms)?));
        }
        steps.extend(self.umask.map(Step::Umask));
        steps.extend(self.personality.map(Step::Personality));
        steps.extend(self.scheduler.map(Step::Scheduler));
        steps.extend(self.io_priority.map(Step::IoPriority));

        let landlocked = self.landlock_rules(&mut steps)?;
        let restrict = landlocked.then_some(Step::LandlockRestrict);
        let capabilities = self.capability_steps()?;
        let bounding = match &self.capabilities {
            Some(sets) if !self.bounding_is_cut => bounding_steps(
                sets.bounding,
                self.last_capability.unwrap_or(Capability::LAST),
            ),
            _ => Vec::new(),
        };
        let ids = self.id_steps();
        let rlimits = self.rlimit_steps()?;
        let filter = self.seccomp_step()?;

        steps.extend(bounding);
        steps.extend(ids);
        if self.no_new_privs {
            steps.extend(capabilities);
            steps.push(Step::NoNewPrivs);
            steps.extend(restrict);
            steps.extend(rlimits);
            steps.extend(filter);
        } else {
            // Without no_new_privs both need CAP_SYS_ADMIN, so they come before capset. What is left
            // for after the filter is capset and PR_CAP_AMBIENT.
            steps.extend(restrict);
            steps.extend(rlimits);
            steps.extend(filter);
            steps.extend(capabilities);
        }
        Ok(Confinement::from_steps(steps))
    }

    fn landlock_rules(&self, steps: &mut Vec<Step>) -> Result<bool, Error> {
        let Some((landlock, abi)) = &self.landlock else {
            return Ok(false);
        };
        let Some((fs, scoped, rules)) = landlock.prepare(*abi)? else {
            return Ok(false);
        };
        steps.push(Step::LandlockCreate { fs, scoped });
        steps.extend(
            rules
                .into_iter()
                .enumerate()
                .map(|(i, rule)| Step::LandlockRule(i, rule)),
        );
        Ok(true)
    }

    /// Groups before the gid before the uid: each takes a capability the next one may lose.
    fn id_steps(&self) -> Vec<Step> {
        let Some(ids) = &self.ids else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        if let Some(groups) = &ids.groups {
            steps.push(Step::SetGroups(
                groups.iter().map(|&gid| Gid::from_raw(gid)).collect(),
            ));
        }
        steps.push(Step::SetResGid(Gid::from_raw(ids.gid)));
        let uid = Step::SetResUid(Uid::from_raw(ids.uid));
        if self.keeps_capabilities(ids.uid) {
            // setresuid away from 0 clears the permitted set; with this bit it does not touch it. It
            // does not outlive this list: a program that calls setuid itself expects the usual effect.
            steps.push(Step::SecureBits(CapabilitiesSecureBits::NO_SETUID_FIXUP));
            steps.push(uid);
            steps.push(Step::SecureBits(CapabilitiesSecureBits::empty()));
        } else {
            steps.push(uid);
        }
        steps
    }

    /// Are capabilities needed after the uid has changed from 0?
    fn keeps_capabilities(&self, uid: u32) -> bool {
        let wanted = self
            .capabilities
            .is_some_and(|sets| !sets.permitted.is_empty());
        let later = !self.no_new_privs && (self.seccomp.is_some() || self.landlock.is_some());
        uid != 0 && self.capabilities.is_some() && (wanted || later)
    }

    fn capability_steps(&self) -> Result<Vec<Step>, Error> {
        let Some(sets) = &self.capabilities else {
            return Ok(Vec::new());
        };
        sets.check()?;
        let mut steps = vec![Step::CapSet(*sets)];
        // capset shrinks the ambient set to what is permitted and inheritable, which is nothing as a
        // rule; only a non-empty inheritable set can leave something of the caller's in it.
        if !sets.inheritable.is_empty() {
            steps.push(Step::AmbientClear);
        }
        steps.extend(sets.ambient.iter().map(Step::AmbientRaise));
        Ok(steps)
    }

    fn rlimit_steps(&self) -> Result<Vec<Step>, Error> {
        let step = |(index, rlimit): (usize, &Rlimit)| {
            rlimit.check()?;
            Ok(Step::Rlimit(index, *rlimit))
        };
        self.rlimits.iter().enumerate().map(step).collect()
    }

    fn seccomp_step(&self) -> Result<Option<Step>, Error> {
        let Some(program) = &self.seccomp else {
            return Ok(None);
        };
        if program.notifies() && !self.listener {
            return Err(Error::NoListener);
        }
        Ok(Some(Step::Seccomp {
            program: program.clone(),
            listen: self.listener,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;
    use crate::seccomp::{Action, Arch, Profile, compile};

    fn calls(confinement: &Confinement) -> Vec<String> {
        let name = |step| {
            let text: String = confinement.describe(step);
            let end = text.find([',', ')']).unwrap_or(text.len());
            text[..end].to_owned()
        };
        (0..confinement.len()).map(name).collect()
    }

    fn everything() -> Builder {
        let bind = CapSet::from(Capability::NET_BIND_SERVICE);
        let bounding = CapSet::ALL.difference(CapSet::from(Capability::BPF));
        let sets = Capabilities {
            effective: bind,
            permitted: bind,
            inheritable: bind,
            bounding,
            ambient: bind,
        };
        let program = compile(&Profile::new(Action::Allow), Arch::X86_64).unwrap();
        Confinement::builder()
            .seccomp(program)
            .rlimit(Rlimit {
                resource: Resource::NOFILE,
                soft: Some(5),
                hard: None,
            })
            .capabilities(sets)
            .ids(Ids {
                uid: 7,
                gid: 8,
                groups: Some(vec![8, 9]),
            })
            .landlock(Landlock::scopes_only(), Abi::from_number(6))
            .umask(0o22)
    }

    #[test]
    fn with_no_new_privs_the_filter_is_the_last_step() {
        let confinement = everything().no_new_privs(true).build().unwrap();
        let expected = [
            "umask(022",
            "landlock_create_ruleset({handled_access_fs=0",
            "prctl(PR_CAPBSET_DROP",
            "setgroups(2",
            "setresgid(8",
            "prctl(PR_SET_SECUREBITS",
            "setresuid(7",
            "prctl(PR_SET_SECUREBITS",
            "capset({version=_LINUX_CAPABILITY_VERSION_3",
            "prctl(PR_CAP_AMBIENT",
            "prctl(PR_CAP_AMBIENT",
            "prctl(PR_SET_NO_NEW_PRIVS",
            "landlock_restrict_self(ruleset",
            "prlimit64(0",
            "seccomp(SECCOMP_SET_MODE_FILTER",
        ];
        assert_eq!(calls(&confinement), expected);
    }

    #[test]
    fn without_no_new_privs_only_capabilities_are_left_for_after_the_filter() {
        let confinement = everything().build().unwrap();
        let calls = calls(&confinement);
        let filter = calls
            .iter()
            .position(|call| call.starts_with("seccomp"))
            .unwrap();
        let restrict = calls
            .iter()
            .position(|call| call.starts_with("landlock_restrict"))
            .unwrap();
        let after = [
            "capset({version=_LINUX_CAPABILITY_VERSION_3",
            "prctl(PR_CAP_AMBIENT",
            "prctl(PR_CAP_AMBIENT",
        ];
        assert_eq!(calls[filter + 1..], after);
        assert!(restrict < filter);
        assert!(
            !calls
                .iter()
                .any(|call| call.starts_with("prctl(PR_SET_NO_NEW_PRIVS"))
        );
    }

    #[test]
    fn nothing_asked_for_is_nothing_done() {
        assert!(Confinement::builder().build().unwrap().is_empty());
    }

    #[test]
    fn steps_print_as_strace_spells_them() {
        let confinement = everything().no_new_privs(true).build().unwrap();
        let describe = |start: &str| {
            let mut all = (0..confinement.len()).map(|step| confinement.describe(step));
            all.find(|text| text.starts_with(start)).unwrap()
        };
        assert_eq!(
            describe("prctl(PR_CAPBSET"),
            "prctl(PR_CAPBSET_DROP, CAP_BPF)"
        );
        assert_eq!(describe("setgroups"), "setgroups(2, [8, 9])");
        assert_eq!(describe("setresuid"), "setresuid(7, 7, 7)");
        assert_eq!(
            describe("prlimit64"),
            "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=5, rlim_max=RLIM64_INFINITY}, NULL)"
        );
        assert_eq!(
            describe("capset"),
            "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_NET_BIND_SERVICE, \
             permitted=1<<CAP_NET_BIND_SERVICE, inheritable=1<<CAP_NET_BIND_SERVICE})"
        );
        assert_eq!(
            describe("prctl(PR_SET_SECUREBITS"),
            "prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)"
        );
    }

    #[test]
    fn a_capability_newer_than_this_crate_leaves_the_bounding_set_too() {
        let last = Capability::from_number(42).unwrap();
        let cut = Confinement::bounding(CapSet::ALL, last);
        assert_eq!(calls(&cut).len(), 2);
        assert_eq!(cut.describe(1), "prctl(PR_CAPBSET_DROP, 42)");
    }
}
