//! The file system the container sees.

use std::ops::Range;
use std::path::Path;

use rootfs::{MountAttrs, Propagation, Source, TreeBuilder};

use crate::error::Diagnostic;
use crate::host::{Host, PathFacts, TopLevel};
use crate::plan::ids::{self, Ids, Writer};
use crate::plan::{By, Note, Op};
use crate::spec::{At, IdMap, Mount, MountSource, Network, Origin, Owner, Root, Spec};
use crate::users::Credentials;

/// What `rootfs = "host"` shows empty and writable, and its mode.
const HOST_EMPTY: [(&str, u32); 7] = [
    ("/home", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/mnt", 0o755),
    ("/media", 0o755),
];

/// What `rootfs = "host"` hides from container root, whose files those would be: see
/// docs/decisions/0003-host-root-and-secrets.md.
const HOST_SECRETS: [&str; 34] = [
    "/boot",
    "/etc/NetworkManager/system-connections",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/mysql/debian.cnf",
    "/etc/openvpn",
    "/etc/polkit-1",
    "/etc/ppp",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/wireguard",
    "/lost+found",
    "/srv",
    "/var/backups",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/ctr",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/mysql",
    "/var/lib/NetworkManager",
    "/var/lib/postgresql",
    "/var/lib/private",
    "/var/lib/redis",
    "/var/log",
    "/var/mail",
    "/var/spool",
];

/// Hidden in every container, when they are there: they tell about the host, or steer it.
const MASKED: [&str; 26] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/class/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/hypervisor",
    "/sys/kernel",
    "/sys/module",
];

/// Read-only in every container.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/tty"];

/// Kernel parameters of a network namespace of one's own that nobody has to ask for, as Docker sets
/// them: programs without NET_BIND_SERVICE may listen on port 80, and ping without NET_RAW works.
const SYSCTLS: [(&str, &str); 1] = [("net.ipv4.ip_unprivileged_port_start", "0")];

/// The steps of the child, and where each comes from.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) steps: rootfs::Tree,
    origins: Vec<(Range<usize>, Origin)>,
}

impl Tree {
    /// Which line asked for a step.
    pub(crate) fn origin(&self, step: usize) -> Origin {
        let found = self.origins.iter().find(|(steps, _)| steps.contains(&step));
        found.map(|(_, origin)| *origin).unwrap_or_default()
    }
}

/// The tree, and what the supervisor has to do for it.
pub(super) struct Resolved {
    pub(super) tree: Tree,
    pub(super) before: Vec<At<Op>>,
    pub(super) between: Vec<At<Op>>,
    /// Mounts sent to the child.
    pub(super) passed: usize,
}

/// What `rootfs = "host"` hides besides, for [`observe`](crate::observe::observe) to look whether it is there.
pub fn host_secrets(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let host = spec.root.value == Root::Host;
    HOST_SECRETS.into_iter().filter(move |_| host)
}

pub(super) fn resolve(
    spec: &Spec,
    host: &Host,
    user: &Credentials,
    ids: Option<&At<Ids>>,
    notes: &mut Vec<Note>,
) -> Result<Resolved, Vec<Diagnostic>> {
    let mut building = Building::new(spec, host, user, ids.map(|ids| &ids.value), notes);
    building.root();
    building.kernel_file_systems();
    for mount in &spec.mounts {
        building.mount(mount);
    }
    building.files();
    building.covers();
    building.enter();
    building.finish()
}

struct Building<'a> {
    spec: &'a Spec,
    host: &'a Host,
    user: &'a Credentials,
    ids: Option<&'a Ids>,
    notes: &'a mut Vec<Note>,
    builder: TreeBuilder,
    origins: Vec<(Range<usize>, Origin)>,
    problems: Vec<Diagnostic>,
    before: Vec<At<Op>>,
    between: Vec<At<Op>>,
    passed: usize,
    holders: Vec<Ids>,
}

impl<'a> Building<'a> {
    fn new(
        spec: &'a Spec,
        host: &'a Host,
        user: &'a Credentials,
        ids: Option<&'a Ids>,
        notes: &'a mut Vec<Note>,
    ) -> Self {
        Self {
            spec,
            host,
            user,
            ids,
            notes,
            builder: TreeBuilder::new(Propagation::Private),
            origins: Vec::new(),
            problems: Vec::new(),
            before: Vec::new(),
            between: Vec::new(),
            passed: 0,
            holders: Vec::new(),
        }
    }

    fn from(&mut self, origin: Origin, steps: Range<usize>) {
        self.origins.push((steps, origin));
    }

    /// A directory or file of the host for the child: by root a clone of its mount, made here and
    /// passed; by an ordinary user, who may not do that, a path the child opens itself.
    fn source(&mut self, path: &Path, recursive: bool, map: Option<By>, origin: Origin) -> Source {
        if !self.host.caller.privileged {
            return Source::Path(path_c(path));
        }
        let slot = self.passed;
        self.passed += 1;
        let clone = Op::CloneMount { slot, path: path.into(), recursive };
        self.before.push(At { value: clone, origin });
        if let Some(by) = map {
            let map = Op::IdmapMount { slot, path: path.into(), by, recursive };
            self.between.push(At { value: map, origin });
        }
        Source::Passed(slot)
    }

    /// The map that makes files on disk look as if owned by the ids of the same number inside.
    fn own_map(&self) -> Option<By> {
        self.ids.map(|_| By::Container)
    }

    fn root(&mut self) {
        if let Some(ids) = self.ids {
            // Container root, or the one id there is.
            let uid = ids.uids.first().map_or(0, |map| map.inside);
            let gid = ids.gids.first().map_or(0, |map| map.inside);
            self.builder.ids(uid, gid, ids.writer != Writer::DirectOwnId);
        }
        self.builder.scratch();
        let At { value, origin } = &self.spec.root;
        match value {
            Root::Directory(path) => {
                let source = self.source(path, false, self.own_map(), *origin);
                let steps = self.builder.root_bind(source);
                self.from(*origin, steps);
            }
            Root::Host if self.host.caller.privileged => {
                let source = self.source(Path::new("/"), false, self.own_map(), *origin);
                let steps = self.builder.root_overlay(vec![source]);
                self.from(*origin, steps);
                self.hide_host(*origin);
            }
            Root::Host => self.host_by_parts(*origin),
            Root::Overlay { lowers, .. } => {
                let sources = lowers
                    .iter()
                    .map(|path| self.source(path, false, self.own_map(), *origin))
                    .collect();
                let steps = self.builder.root_overlay(sources);
                self.from(*origin, steps);
            }
        }
    }

    fn hide_host(&mut self, origin: Origin) {
        for (path, mode) in HOST_EMPTY {
            let steps = self.builder.hide(Path::new(path), mode);
            self.from(origin, steps);
        }
        for path in HOST_SECRETS.into_iter().filter(|path| self.host.path(path.as_ref()).is_some()) {
            let steps = self.builder.mask(Path::new(path));
            self.from(origin, steps);
        }
    }

    /// An ordinary user cannot lay an overlay over `/`: the directories in it are bound one by one,
    /// read-only.
    fn host_by_parts(&mut self, origin: Origin) {
        let steps = self.builder.root_tmpfs();
        self.from(origin, steps);
        let ours = ["/proc", "/sys", "/dev", "/lost+found", "/boot", "/srv"];
        for entry in &self.host.top_level {
            let steps = match entry {
                TopLevel::Symlink(path, target) => self.builder.symlink(path, target),
                TopLevel::Directory(path) => {
                    let name = path.to_string_lossy();
                    if ours.contains(&&*name) || HOST_EMPTY.iter().any(|(at, _)| *at == name) {
                        continue;
                    }
                    let attrs = MountAttrs::RDONLY | MountAttrs::NOSUID | MountAttrs::NODEV;
                    self.builder.bind(Source::Path(path_c(path)), path, attrs, true)
                }
            };
            self.from(origin, steps);
        }
        for (path, mode) in HOST_EMPTY {
            let steps = self.builder.directory(Path::new(path), mode);
            self.from(origin, steps);
        }
    }

    fn kernel_file_systems(&mut self) {
        self.builder.proc();
        let own_net = self.spec.namespaces.net.value == Network::None;
        if own_net {
            for (name, value) in SYSCTLS {
                if !self.spec.sysctls.iter().any(|asked| asked.value.0 == name) {
                    self.builder.sysctl(name, value);
                }
            }
        }
        for At { value: (name, value), origin } in &self.spec.sysctls {
            let steps = self.builder.sysctl(name, value);
            self.from(*origin, steps);
        }
        if own_net {
            self.builder.sysfs();
        } else {
            // A sysfs shows the network devices of one network namespace, and mounting it takes
            // rights over that namespace.
            let steps = self.builder.host_sys();
            self.from(self.spec.namespaces.net.origin, steps);
        }
        self.builder.cgroup2();
        let gid5 = self.ids.is_none_or(|ids| ids::outside(5, &ids.gids).is_some());
        self.builder.dev(gid5);
        for At { value: path, origin } in &self.spec.devices {
            self.device(path, *origin);
        }
    }

    fn device(&mut self, path: &Path, origin: Origin) {
        match self.host.path(path) {
            Some(PathFacts { device: Some(_), .. }) => {
                let steps = self.builder.device(path);
                self.from(origin, steps);
            }
            Some(_) => self.problems.push(Diagnostic::input(origin, format!("{path:?} is not a device node"))),
            None => self.problems.push(Diagnostic::input(origin, format!("the device {path:?} does not exist on this host"))),
        }
    }

    fn mount(&mut self, At { value: mount, origin }: &At<Mount>) {
        let Mount { source, at, read_only } = mount;
        let steps = match source {
            MountSource::Tmpfs { bytes } => self.builder.tmpfs(at, *bytes, 0o1777),
            MountSource::Bind { path, owner } => {
                let Some(facts) = self.host.path(path).copied() else {
                    self.problems.push(Diagnostic::input(*origin, format!("the source {path:?} does not exist")));
                    return;
                };
                let map = match owner {
                    Owner::Host => None,
                    Owner::Match => self.matching(&facts),
                };
                let source = self.source(path, true, map, *origin);
                let mut attrs = MountAttrs::NOSUID | MountAttrs::NODEV;
                attrs.set(MountAttrs::RDONLY, *read_only);
                self.builder.bind(source, at, attrs, true)
            }
        };
        self.from(*origin, steps);
    }

    /// The map that makes the files of the source's owner look as if owned by the container's user.
    fn matching(&mut self, facts: &PathFacts) -> Option<By> {
        let user = self.user;
        let (uid, gid) = match self.ids {
            Some(ids) => (ids::outside(user.uid, &ids.uids)?, ids::outside(user.gid, &ids.gids)?),
            None => (user.uid, user.gid),
        };
        if (uid, gid) == (facts.uid, facts.gid) {
            return None;
        }
        let one = |inside, outside| vec![IdMap { inside, outside, count: 1 }];
        let map = Ids { uids: one(facts.uid, uid), gids: one(facts.gid, gid), writer: Writer::Direct };
        let known = self.holders.iter().position(|holder| *holder == map);
        Some(By::Holder(known.unwrap_or_else(|| {
            self.holders.push(map);
            self.holders.len() - 1
        })))
    }

    /// Names and resolvers, where the root has an /etc to hold them.
    fn files(&mut self) {
        if !self.host.users.has_etc {
            return;
        }
        let At { value: hostname, origin } = &self.spec.hostname;
        let hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback {hostname}\n");
        let own_net = self.spec.namespaces.net.value == Network::None;
        if own_net {
            let steps = self.builder.file(Path::new("/etc/hosts"), hosts.as_bytes());
            self.from(*origin, steps);
        }
        let steps = self.builder.file(Path::new("/etc/hostname"), format!("{hostname}\n").as_bytes());
        self.from(*origin, steps);
        if let Some(text) = &self.host.resolv_conf {
            let steps = self.builder.file(Path::new("/etc/resolv.conf"), text);
            self.from(self.spec.namespaces.net.origin, steps);
        }
    }

    fn covers(&mut self) {
        for path in MASKED {
            self.builder.mask(Path::new(path));
        }
        for At { value: path, origin } in &self.spec.masked_paths {
            let steps = self.builder.mask(path);
            self.from(*origin, steps);
        }
        for path in READ_ONLY {
            self.builder.read_only(Path::new(path));
        }
        for At { value: path, origin } in &self.spec.readonly_paths {
            let steps = self.builder.read_only(path);
            self.from(*origin, steps);
        }
    }

    fn enter(&mut self) {
        if self.spec.read_only_root.value {
            let steps = self.builder.read_only_root();
            self.from(self.spec.read_only_root.origin, steps);
        }
        self.builder.pivot();
        let At { value: workdir, origin } = &self.spec.process.workdir;
        let steps = self.builder.workdir(workdir);
        self.from(*origin, steps);
    }

    fn finish(self) -> Result<Resolved, Vec<Diagnostic>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let hold = self.holders.into_iter().enumerate().map(|(holder, ids)| {
            At::default_of(Op::HoldUserNamespace { holder, ids })
        });
        let tree = Tree { steps: self.builder.build(), origins: self.origins };
        let before = hold.chain(self.before).collect();
        Ok(Resolved { tree, before, between: self.between, passed: self.passed })
    }
}

fn path_c(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
