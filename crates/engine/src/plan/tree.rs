//! The file system the container sees.

use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rootfs::{
    Bind, Change, Device, MountAttrs, Overlay, Proc, Propagation, Pts, Source, Tmpfs, TreeBuilder,
    Upper,
};

use crate::error::Diagnostic;
use crate::host::{Host, PathFacts};
use crate::plan::hidden::{
    HOST_EMPTY, HOST_SECRETS, MASKED, MASKED_FROM_HOST_ROOT, READ_ONLY, READ_ONLY_FOR_HOST_ROOT,
};
use crate::plan::ids::{self, Ids, Writer};
use crate::plan::network::Texts;
use crate::plan::{By, Note, Op};
use crate::spec::{self, At, IdMap, Mount, MountSource, Origin, Owner, Root, Spec};
use crate::users::Credentials;

/// What the builder starts with.
const PRIVATE: &str = "no mount made here travels back to the host";

const HIDE: &str = "hide what tells about the host or steers it";
const READ_ONLY_PARTS: &str = "read-only parts of /proc";

/// The group that owns terminals, as every distribution has it.
const TTY_GROUP: u32 = 5;

/// Size of /dev/shm, as Docker has it.
const SHM_BYTES: u64 = 64 << 20;

/// Kernel parameters of a network namespace of one's own that nobody has to ask for, as Docker sets
/// them: programs without NET_BIND_SERVICE may listen on port 80, and ping without NET_RAW works.
const SYSCTLS: [(&str, &str); 1] = [("net.ipv4.ip_unprivileged_port_start", "0")];

/// The steps of the child, and where each comes from.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) steps: rootfs::Tree,
    parts: Vec<Part>,
}

/// Steps that belong together.
#[derive(Debug)]
struct Part {
    steps: Range<usize>,
    origin: Origin,
    purpose: &'static str,
}

impl Tree {
    fn part(&self, step: usize) -> Option<&Part> {
        self.parts.iter().find(|part| part.steps.contains(&step))
    }

    /// Which line asked for a step.
    pub(crate) fn origin(&self, step: usize) -> Origin {
        self.part(step).map(|part| part.origin).unwrap_or_default()
    }

    /// What a step is for. The builder's own first steps belong to no part.
    pub(crate) fn purpose(&self, step: usize) -> &'static str {
        self.part(step).map_or(PRIVATE, |part| part.purpose)
    }
}

/// The tree, and what the supervisor has to do for it.
pub(super) struct Resolved {
    pub(super) tree: Tree,
    pub(super) before: Vec<At<Op>>,
    pub(super) between: Vec<At<Op>>,
    /// Mounts sent to the child.
    pub(super) passed: usize,
    pub(super) notes: Vec<Note>,
}

pub(super) fn resolve(
    spec: &Spec,
    host: &Host,
    user: &Credentials,
    ids: Option<&Ids>,
    texts: Texts,
) -> Result<Resolved, Vec<Diagnostic>> {
    let mut building = Building::new(spec, host, user, ids);
    building.root();
    building.kernel_file_systems();
    building.of_the_network();
    for mount in &spec.mounts {
        building.mount(mount);
    }
    building.files(&texts);
    building.covers();
    building.enter();
    building.finish()
}

struct Building<'a> {
    spec: &'a Spec,
    host: &'a Host,
    user: &'a Credentials,
    ids: Option<&'a Ids>,
    builder: TreeBuilder,
    parts: Vec<Part>,
    notes: Vec<Note>,
    problems: Vec<Diagnostic>,
    before: Vec<At<Op>>,
    between: Vec<At<Op>>,
    passed: usize,
    holders: Vec<Ids>,
}

impl<'a> Building<'a> {
    fn new(spec: &'a Spec, host: &'a Host, user: &'a Credentials, ids: Option<&'a Ids>) -> Self {
        Self {
            spec,
            host,
            user,
            ids,
            builder: TreeBuilder::new(Propagation::Private),
            parts: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
            before: Vec::new(),
            between: Vec::new(),
            passed: 0,
            holders: Vec::new(),
        }
    }

    /// Append steps that `origin` asked for.
    fn add(
        &mut self,
        origin: Origin,
        purpose: &'static str,
        build: impl FnOnce(&mut TreeBuilder) -> rootfs::Steps,
    ) {
        match build(&mut self.builder) {
            Ok(steps) => self.parts.push(Part {
                steps,
                origin,
                purpose,
            }),
            Err(error) => self
                .problems
                .push(Diagnostic::input(origin, error.to_string())),
        }
    }

    /// A directory or file of the host for the child: by root a clone of its mount, made here and
    /// passed; by an ordinary user, who may not do that, a path the child opens itself.
    fn source(&mut self, path: &Path, recursive: bool, map: Option<By>, origin: Origin) -> Source {
        if !self.host.caller.privileged {
            return Source::Path(path_c(path));
        }
        let slot = self.passed;
        self.passed += 1;
        let clone = Op::CloneMount {
            slot,
            path: path.into(),
            recursive,
        };
        self.before.push(At {
            value: clone,
            origin,
        });
        if let Some(by) = map {
            let map = Op::IdmapMount {
                slot,
                path: path.into(),
                by,
                recursive,
            };
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
            let setgroups = ids.writer != Writer::DirectOwnId;
            self.add(Origin::Default, "become root of the container", |tree| {
                tree.ids(uid, gid, setgroups)
            });
        }
        // /proc is there on every host and open to every id; nothing of it is needed before our own.
        self.add(
            Origin::Default,
            "a tmpfs for what the container never sees, out of the way",
            |tree| tree.scratch_over(None, c"/proc"),
        );
        let At { value, origin } = &self.spec.root;
        match value {
            Root::Directory(path) => {
                // What lies below the directory of an ordinary user is locked to it.
                let recursive = !self.host.caller.privileged;
                let source = self.source(path, recursive, self.own_map(), *origin);
                self.add(*origin, "the root: a directory", |tree| {
                    tree.root_bind(&source, recursive)
                });
            }
            Root::Host if self.host.caller.privileged => {
                self.overlay(&[Path::new("/")], &spec::Upper::Ephemeral, *origin);
                self.hide_host(*origin);
            }
            Root::Host => self.host_by_parts(*origin),
            Root::Overlay { lowers, upper } => {
                let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
                self.overlay(&lowers, upper, *origin);
            }
        }
    }

    fn overlay(&mut self, lowers: &[&Path], upper: &spec::Upper, origin: Origin) {
        let map = self.own_map().filter(|_| self.maps_host_root(origin));
        let lowers = lowers
            .iter()
            .map(|path| self.source(path, false, map, origin))
            .collect();
        let upper = match upper {
            spec::Upper::Ephemeral => Upper::Ephemeral,
            spec::Upper::Directory(path) => Upper::Directory(self.source(path, false, map, origin)),
        };
        let is_host = self.spec.root.value == Root::Host;
        let overlay = Overlay {
            lowers,
            upper,
            // An image's layers are marked so, whoever mounts them.
            userxattr: self.ids.is_some() || !is_host,
        };
        self.add(origin, "the root: an overlay", |tree| {
            tree.root_overlay(&overlay)
        });
    }

    /// Whether the lower layer of `rootfs = "host"` can be mapped. If not, root's files look as if
    /// owned by nobody: what everyone may read and execute is there, nothing of it can be changed.
    fn maps_host_root(&mut self, origin: Origin) -> bool {
        let maps = self.spec.root.value != Root::Host || self.host.root.idmaps;
        if !maps {
            self.notes.push(Note::at(origin, "the file system of / cannot be idmapped: its files look as if owned by nobody, and only what everyone may read can be read"));
        }
        maps
    }

    fn hide_host(&mut self, origin: Origin) {
        for (path, mode) in HOST_EMPTY {
            self.add(origin, "empty what is nobody's business", |tree| {
                tree.hide_dir(Path::new(path), mode)
            });
        }
        let secrets: Vec<&str> = HOST_SECRETS
            .into_iter()
            .filter(|path| self.host.path(path.as_ref()).is_some())
            .collect();
        self.add(origin, "hide where secrets are kept", |tree| {
            tree.mask(&secrets)
        });
    }

    /// An ordinary user cannot lay an overlay over `/`: the directories in it are bound one by one,
    /// read-only, and what is to be empty is made empty.
    fn host_by_parts(&mut self, origin: Origin) {
        self.add(
            origin,
            "the root: the directories of this machine, read-only",
            |tree| tree.root_host_binds(&self.host.top_level),
        );
        for (path, mode) in HOST_EMPTY {
            let path = Path::new(path);
            match path.parent() {
                Some(parent) if parent == Path::new("/") => {
                    self.add(origin, "empty what is nobody's business", |tree| {
                        tree.directory(path, mode)
                    });
                }
                _ => self.add(origin, "empty what is nobody's business", |tree| {
                    tree.hide_dir(path, mode)
                }),
            }
        }
    }

    fn kernel_file_systems(&mut self) {
        let default = Origin::Default;
        self.add(default, "/proc", |tree| tree.proc(&Proc::default()));
        self.add(default, "/dev from scratch", TreeBuilder::dev);
        let tty = self
            .ids
            .is_none_or(|ids| ids::outside(TTY_GROUP, &ids.gids).is_some());
        let pts = Pts {
            gid: tty.then_some(TTY_GROUP),
            ..Pts::default()
        };
        self.add(default, "/dev from scratch", |tree| tree.devpts(&pts));
        self.add(default, "/dev from scratch", |tree| tree.shm(SHM_BYTES));
        self.add(default, "/dev from scratch", TreeBuilder::mqueue);
        for At {
            value: path,
            origin,
        } in &self.spec.devices
        {
            self.device(path, *origin);
        }
    }

    /// What shows or sets things of the network namespace, and what lies below.
    fn of_the_network(&mut self) {
        let default = Origin::Default;
        let own_net = self.spec.namespaces.net.value.is_own();
        for (name, value) in SYSCTLS.into_iter().filter(|_| own_net) {
            if !self.spec.sysctls.iter().any(|asked| asked.value.0 == name) {
                self.add(
                    default,
                    "kernel parameters of the container's own",
                    |tree| tree.sysctl(name, value),
                );
            }
        }
        for At {
            value: (name, value),
            origin,
        } in &self.spec.sysctls
        {
            self.add(
                *origin,
                "kernel parameters of the container's own",
                |tree| tree.sysctl(name, value),
            );
        }
        if own_net {
            self.add(default, "/sys, read-only", TreeBuilder::sysfs);
        } else {
            // A sysfs shows the devices of one network namespace; mounting it takes rights over that.
            self.add(
                self.spec.namespaces.net.origin,
                "/sys of the host, read-only",
                TreeBuilder::host_sys,
            );
        }
        self.add(default, "its cgroup, read-only", |tree| tree.cgroup2(true));
    }

    fn device(&mut self, path: &Path, origin: Origin) {
        let problem = match self.host.path(path) {
            Some(PathFacts {
                device: number @ Some(_),
                ..
            }) => {
                let device = Device {
                    path: path_c(path),
                    at: path.into(),
                    number: *number,
                };
                return self.add(origin, "a further device", |tree| tree.device(&device));
            }
            Some(_) => "is not a device node",
            None => "does not exist on this host",
        };
        self.problems.push(Diagnostic::input(
            origin,
            format!("the device {path:?} {problem}"),
        ));
    }

    fn mount(
        &mut self,
        At {
            value: mount,
            origin,
        }: &At<Mount>,
    ) {
        let Mount {
            source,
            at,
            read_only,
        } = mount;
        let mut attrs = MountAttrs::NOSUID | MountAttrs::NODEV;
        attrs.set(MountAttrs::RDONLY, *read_only);
        match source {
            MountSource::Tmpfs { bytes } => {
                let tmpfs = Tmpfs {
                    size: Some(*bytes),
                    attrs,
                    ..Tmpfs::default()
                };
                self.add(*origin, "a mount of the manifest's", |tree| {
                    tree.tmpfs(at, &tmpfs)
                });
            }
            MountSource::Bind { path, owner } => {
                let Some(facts) = self.host.path(path).copied() else {
                    let message = format!("the source {path:?} does not exist");
                    self.problems.push(Diagnostic::input(*origin, message));
                    return;
                };
                let map = match owner {
                    Owner::Host => None,
                    Owner::Match => self.matching(&facts),
                };
                let source = self.source(path, true, map, *origin);
                let (at, change) = (at.clone(), Change::set(attrs));
                let bind = Bind {
                    source,
                    at,
                    recursive: true,
                    change,
                };
                self.add(*origin, "a mount of the manifest's", |tree| {
                    tree.bind(&bind)
                });
            }
        }
    }

    /// The map that makes the files of the source's owner look as if owned by the container's user.
    fn matching(&mut self, facts: &PathFacts) -> Option<By> {
        let user = self.user;
        let (uid, gid) = match self.ids {
            Some(ids) => (
                ids::outside(user.uid, &ids.uids)?,
                ids::outside(user.gid, &ids.gids)?,
            ),
            None => (user.uid, user.gid),
        };
        if (uid, gid) == (facts.uid, facts.gid) {
            return None;
        }
        let one = |inside, outside| {
            vec![IdMap {
                inside,
                outside,
                count: 1,
            }]
        };
        let uids = one(facts.uid, uid);
        let map = Ids {
            uids,
            gids: one(facts.gid, gid),
            writer: Writer::Direct,
        };
        let known = self.holders.iter().position(|holder| *holder == map);
        Some(By::Holder(known.unwrap_or_else(|| {
            self.holders.push(map);
            self.holders.len() - 1
        })))
    }

    /// Names and resolvers, where the root has an /etc to hold them.
    fn files(&mut self, texts: &Texts) {
        if !self.host.users.has_etc {
            return;
        }
        let At {
            value: name,
            origin,
        } = &self.spec.hostname;
        if let Some(hosts) = &texts.hosts {
            self.file("etc/hosts", hosts.as_bytes(), *origin);
        }
        self.file("etc/hostname", format!("{name}\n").as_bytes(), *origin);
        if let Some(text) = &texts.resolv_conf {
            self.file("etc/resolv.conf", text, self.spec.namespaces.net.origin);
        }
    }

    /// A file of ours over one of the root's. Nobody asked for it: where its place is missing and
    /// cannot be made, it is left out.
    fn file(&mut self, path: &str, bytes: &[u8], origin: Origin) {
        // An overlay of ours takes writes, whatever lies below it.
        let by_parts = self.spec.root.value == Root::Host && !self.host.caller.privileged;
        let fixed = match self.spec.root.value {
            Root::Directory(_) => self.host.root.read_only,
            Root::Host => by_parts,
            Root::Overlay { .. } => false,
        };
        if fixed && !self.host.root.name_files.contains(&path) {
            let text =
                format!("no /{path} of its own: the root has none, and it cannot be made there");
            return self.notes.push(Note::at(origin, text));
        }
        let at = Path::new("/").join(path);
        self.add(origin, "names", |tree| tree.file(&at, bytes));
    }

    fn covers(&mut self) {
        let host_root = self.ids.is_none();
        self.add(Origin::Default, HIDE, |tree| tree.mask(&MASKED));
        if host_root {
            self.add(Origin::Default, HIDE, |tree| {
                tree.mask(&MASKED_FROM_HOST_ROOT)
            });
            self.add(Origin::Default, READ_ONLY_PARTS, |tree| {
                tree.readonly_leaf(&READ_ONLY_FOR_HOST_ROOT)
            });
        }
        for At {
            value: path,
            origin,
        } in &self.spec.masked_paths
        {
            self.add(*origin, HIDE, |tree| tree.mask(&[path]));
        }
        self.add(Origin::Default, READ_ONLY_PARTS, |tree| {
            tree.readonly_leaf(&READ_ONLY)
        });
        for At {
            value: path,
            origin,
        } in &self.spec.readonly_paths
        {
            self.add(*origin, "read-only parts", |tree| tree.readonly(&[path]));
        }
    }

    fn enter(&mut self) {
        if self.spec.read_only_root.value {
            self.add(
                self.spec.read_only_root.origin,
                "a read-only root",
                TreeBuilder::read_only_root,
            );
        }
        self.add(
            Origin::Default,
            "the switch: the host's tree is gone",
            TreeBuilder::pivot,
        );
        let At {
            value: workdir,
            origin,
        } = &self.spec.process.workdir;
        self.add(*origin, "the working directory", |tree| {
            tree.workdir(workdir, true)
        });
    }

    fn finish(self) -> Result<Resolved, Vec<Diagnostic>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let hold = self
            .holders
            .into_iter()
            .enumerate()
            .map(|(holder, ids)| At::default_of(Op::HoldUserNamespace { holder, ids }));
        let tree = Tree {
            steps: self.builder.build(),
            parts: self.parts,
        };
        let before = hold.chain(self.before).collect();
        let (between, passed, notes) = (self.between, self.passed, self.notes);
        Ok(Resolved {
            tree,
            before,
            between,
            passed,
            notes,
        })
    }
}

fn path_c(path: &Path) -> CString {
    // A NUL cannot be in a path that was looked up on this host.
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
