//! Where running containers are known: one locked directory each, below the run root.
//!
//! `/run/ctr/NAME/` (an ordinary user's is below `$XDG_RUNTIME_DIR`) is made under a temporary name,
//! locked with flock(2), filled and published by renameat2(2); a half-written one is invisible. The
//! lock is held by the supervisor's open directory and dies with it, whatever kills it: a directory
//! that can be locked is a dead container's, and everything that could have outlived it (its cgroup)
//! is named in its record. So recovery is what every start does, and there is no lock over all
//! containers.
//!
//! Id ranges are claimed the same way, by a locked file each.

mod sweep;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{StateError, StateResult};

/// What is kept of a container while it runs: enough to name it and to clean up after it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Record {
    /// Container name.
    pub name: String,
    /// The supervisor's pid.
    pub supervisor: u32,
    /// The file it was started from.
    pub source: String,
    /// Its cgroup directory on the host, when it has one of its own.
    pub cgroup: Option<PathBuf>,
    /// Its place on a network.
    #[serde(default)]
    pub network: Option<crate::net::Member>,
    /// The image that its root is made of, as it was when it started.
    #[serde(default, deserialize_with = "image_or_none")]
    pub image: Option<image::Record>,
    /// `[labels]` of the manifest.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// What another version wrote and this one cannot read is as good as nothing: the rest of the record still names what
/// has to be cleaned up.
fn image_or_none<'de, D>(deserializer: D) -> Result<Option<image::Record>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

const RECORD: &str = "state.json";
/// An image's labels have at most 1 MiB, a manifest as much, and JSON may need six bytes for one.
const RECORD_LIMIT: usize = 16 << 20;
/// First host id of the ranges handed out: above what Debian's subuid allocation (up to
/// 600 100 000) and systemd-nspawn (up to 0x6fff_ffff) use, below systemd's foreign range.
const IDS_BASE: u32 = 0x7000_0000;
/// Ids of one container.
pub const IDS_PER_CONTAINER: u32 = 65_536;
/// So many ranges fit below 0x7ffe_0000.
const IDS_SLOTS: u32 = 0x0ffe;

/// The run root.
#[derive(Debug)]
pub struct Store {
    dir: OwnedFd,
    path: PathBuf,
}

/// A running container's locked directory.
#[derive(Debug)]
pub struct StateDir {
    store: OwnedFd,
    dir: OwnedFd,
    name: String,
    path: PathBuf,
}

/// Who a state directory belongs to.
enum Occupant {
    /// There is no such directory (any more).
    Nobody,
    /// A supervisor holds its lock.
    Alive,
    /// Its supervisor died; as long as `_lock` is held nobody else cleans it up.
    Dead {
        /// The locked directory.
        _lock: OwnedFd,
        /// What it said about itself, when that can be read.
        record: Option<Box<Record>>,
    },
}

/// The default run root of the calling user.
#[must_use]
pub fn default_root(euid: u32, xdg_runtime_dir: Option<&Path>) -> PathBuf {
    match (euid, xdg_runtime_dir) {
        (0, _) => PathBuf::from("/run/ctr"),
        (_, Some(dir)) if dir.is_absolute() => dir.join("ctr"),
        (uid, _) => PathBuf::from(format!("/tmp/ctr-{uid}")),
    }
}

impl Store {
    /// Open the run root, making it (mode 0700) when it is missing.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be made, is not a directory of the caller's own, or others may
    /// write into it.
    pub fn open(path: &Path) -> StateResult<Self> {
        let fail = |call: &'static str| {
            let path = path.to_path_buf();
            move |errno| StateError::Call { call, path, errno }
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = match fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(|e| {
                        fail("mkdir")(Errno::from_io_error(&e).unwrap_or(Errno::IO))
                    })?;
                }
                match fs::mkdir(path, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(fail("mkdir")(errno)),
                }
                fs::open(path, flags, Mode::empty()).map_err(fail("open"))?
            }
            other => other.map_err(fail("open"))?,
        };
        let stat = fs::fstat(&dir).map_err(fail("fstat"))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(StateError::NotPrivate {
                path: path.into(),
                uid: stat.st_uid,
            });
        }
        Ok(Self {
            dir,
            path: path.into(),
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn call(&self, call: &'static str, name: &str) -> impl FnOnce(Errno) -> StateError + use<> {
        let path = self.path.join(name);
        move |errno| StateError::Call { call, path, errno }
    }

    /// Publish `record` under its name. A dead container of that name is cleaned away first, by
    /// `recover`, which gets its record.
    ///
    /// # Errors
    /// [`StateError::Running`] while a container of that name lives; otherwise the failing call.
    pub fn publish(
        &self,
        record: &Record,
        mut recover: impl FnMut(&Record),
    ) -> StateResult<StateDir> {
        let temporary = format!("{NEW}{}.{}", record.supervisor, record.name);
        match fs::mkdirat(&self.dir, &temporary, Mode::RWXU) {
            // Only a dead process of our pid can have left it.
            Err(Errno::EXIST) => {
                self.delete(&temporary)?;
                fs::mkdirat(&self.dir, &temporary, Mode::RWXU)
            }
            other => other,
        }
        .map_err(self.call("mkdirat", &temporary))?;
        let dir = self.open_dir(&temporary)?;
        fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)
            .map_err(self.call("flock", &temporary))?;
        let published = self
            .fill(&dir, record)
            .and_then(|()| self.rename_into_place(&temporary, &record.name, &mut recover));
        if let Err(error) = published {
            // The first error says why; this is only tidying up.
            let _ = self.delete(&temporary);
            return Err(error);
        }
        let store = self
            .dir
            .try_clone()
            .map_err(|e| self.call("dup", "")(Errno::from_io_error(&e).unwrap_or(Errno::MFILE)))?;
        Ok(StateDir {
            store,
            dir,
            name: record.name.clone(),
            path: self.path.join(&record.name),
        })
    }

    fn fill(&self, dir: &OwnedFd, record: &Record) -> StateResult<()> {
        let text = serde_json::to_vec(record).map_err(|source| StateError::Record {
            path: self.path.join(&record.name),
            source,
        })?;
        if text.len() > RECORD_LIMIT {
            return Err(self.call("write", RECORD)(Errno::FBIG));
        }
        let file = fs::openat(
            dir,
            RECORD,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(self.call("openat", RECORD))?;
        write_all(&file, &text).map_err(self.call("write", RECORD))
    }

    fn rename_into_place(
        &self,
        from: &str,
        name: &str,
        recover: &mut dyn FnMut(&Record),
    ) -> StateResult<()> {
        // A second round is needed when a dead one had to go; more only against a racing start.
        for _ in 0..8 {
            match fs::renameat_with(&self.dir, from, &self.dir, name, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => return other.map_err(self.call("renameat2", name)),
            }
            match self.occupant(name)? {
                Occupant::Dead { _lock, record } => {
                    if let Some(record) = &record {
                        recover(record);
                    }
                    self.delete(name)?;
                }
                Occupant::Nobody => {}
                Occupant::Alive => {
                    let pid = self.record(name).map(|record| record.supervisor);
                    return Err(StateError::Running {
                        name: name.into(),
                        pid,
                    });
                }
            }
        }
        Err(StateError::Running {
            name: name.into(),
            pid: None,
        })
    }

    fn open_dir(&self, name: &str) -> StateResult<OwnedFd> {
        fs::openat(
            &self.dir,
            name,
            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(self.call("openat", name))
    }

    /// Who lives in `name`; a dead one is returned locked.
    fn occupant(&self, name: &str) -> StateResult<Occupant> {
        let dir = match self.open_dir(name) {
            Err(StateError::Call {
                errno: Errno::NOENT,
                ..
            }) => return Ok(Occupant::Nobody),
            other => other?,
        };
        match fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Occupant::Alive),
            Err(errno) => return Err(self.call("flock", name)(errno)),
        }
        // Between our open and our lock somebody else may have cleaned it away, and a new
        // container may stand under its name: the lock says nothing about that one.
        if fs::fstat(&dir).map_err(self.call("fstat", name))?.st_nlink == 0 {
            return Ok(Occupant::Nobody);
        }
        Ok(Occupant::Dead {
            _lock: dir,
            record: self.record(name).map(Box::new),
        })
    }

    fn record(&self, name: &str) -> Option<Record> {
        let path = format!("{name}/{RECORD}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.dir, path, flags, Mode::empty()).ok()?;
        let text = read_bounded(&file, RECORD_LIMIT).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Remove a state directory and the files in it; it holds no directories.
    fn delete(&self, name: &str) -> StateResult<()> {
        let dir = match self.open_dir(name) {
            Err(StateError::Call {
                errno: Errno::NOENT,
                ..
            }) => return Ok(()),
            other => other?,
        };
        for file in entries(&dir).map_err(self.call("getdents64", name))? {
            unlink(&dir, &file, AtFlags::empty()).map_err(self.call("unlinkat", name))?;
        }
        unlink(&self.dir, name.as_ref(), AtFlags::REMOVEDIR).map_err(self.call("unlinkat", name))
    }
}

impl Store {
    /// Whether a container of this name runs: its supervisor holds the lock of its directory.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        let locked = |dir| fs::flock(&dir, FlockOperation::NonBlockingLockShared);
        self.open_dir(name)
            .map(locked)
            .is_ok_and(|lock| lock == Err(Errno::WOULDBLOCK))
    }

    /// The record of a container that runs.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Record> {
        let known = !is_ours(name) && !name.contains('/') && self.is_running(name);
        // Read after the look at the lock: a record does not change while its container lives.
        self.record(name).filter(|_| known && self.is_running(name))
    }

    /// The records of all containers, of dead ones too.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let names = entries(&self.dir).unwrap_or_default();
        let names = names.iter().filter_map(|name| name.to_str());
        names
            .filter(|name| !is_ours(name))
            .filter_map(|name| self.record(name))
            .collect()
    }
}

/// Directories of the run root that are no container's: no container may have these names.
fn is_ours(name: &str) -> bool {
    ["ids", "net"].contains(&name)
}

/// What a directory is called before it is whole: `.new.PID.NAME`.
const NEW: &str = ".new.";

impl StateDir {
    /// The open, locked directory.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Take it away: the container is no more.
    ///
    /// # Errors
    /// The failing call; the directory may then remain, and the next start removes it.
    pub fn remove(self) -> Result<(), StateError> {
        let path = PathBuf::from(&self.name);
        let fail = |call| {
            let path = path.clone();
            move |errno| StateError::Call { call, path, errno }
        };
        unlink(&self.dir, RECORD.as_ref(), AtFlags::empty()).map_err(fail("unlinkat"))?;
        unlink(&self.store, self.name.as_ref(), AtFlags::REMOVEDIR).map_err(fail("unlinkat"))
    }
}

/// A range of 65 536 host ids that no other container has.
#[derive(Debug)]
pub struct IdRange {
    dir: OwnedFd,
    /// Holds the lock.
    _file: OwnedFd,
    slot: u32,
}

impl IdRange {
    /// First host id of range `slot`.
    #[must_use]
    pub fn first(slot: u32) -> u32 {
        IDS_BASE + (slot % IDS_SLOTS) * IDS_PER_CONTAINER
    }

    /// The slot where the search for a free range begins for a container of this name: the same
    /// name gets the same range as long as nobody else holds it.
    #[must_use]
    pub fn preferred(name: &str) -> u32 {
        // FNV-1a: spread is all that is asked of it.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        hash % IDS_SLOTS
    }

    /// Claim the first free range from `slot` on.
    ///
    /// # Errors
    /// The failing call, or [`StateError::NoIds`] when all are taken.
    pub fn claim(store: &Store, slot: u32) -> StateResult<Self> {
        let fail = |call: &'static str| store.call(call, "ids");
        let dir = match store.open_dir("ids") {
            Err(StateError::Call {
                errno: Errno::NOENT,
                ..
            }) => {
                match fs::mkdirat(&store.dir, "ids", Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(fail("mkdirat")(errno)),
                }
                store.open_dir("ids")?
            }
            other => other?,
        };
        for step in 0..IDS_SLOTS {
            let slot = (slot + step) % IDS_SLOTS;
            if let Some(file) = lock_slot(&dir, slot, OFlags::CREATE).map_err(fail("flock"))? {
                return Ok(Self {
                    dir,
                    _file: file,
                    slot,
                });
            }
        }
        Err(StateError::NoIds)
    }

    /// Which range it is, see [`IdRange::first`].
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Give it back.
    ///
    /// # Errors
    /// The failing unlinkat(2); the lock is gone all the same.
    pub fn release(self) -> StateResult<()> {
        let name = self.slot.to_string();
        unlink(&self.dir, name.as_ref(), AtFlags::empty()).map_err(|errno| StateError::Call {
            call: "unlinkat",
            path: Path::new("ids").join(name),
            errno,
        })
    }
}

/// Lock the file of a range; `None` when somebody else has it, or it is no more.
fn lock_slot(dir: &OwnedFd, slot: u32, create: OFlags) -> Result<Option<OwnedFd>, Errno> {
    let flags = create | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match fs::openat(dir, slot.to_string(), flags, mode) {
        Err(Errno::NOENT) if !create.contains(OFlags::CREATE) => return Ok(None),
        other => other?,
    };
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Its owner may have unlinked it between our open and our lock: then it is nobody's.
        Ok(()) if fs::fstat(&file)?.st_nlink == 0 => Ok(None),
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn unlink(dir: &OwnedFd, name: &std::ffi::OsStr, flags: AtFlags) -> Result<(), Errno> {
    match fs::unlinkat(dir, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn entries(dir: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn read_bounded(file: &OwnedFd, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let n = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut chunk))?;
        if n == 0 {
            return Ok(text);
        }
        if text.len() + n > limit {
            return Err(Errno::FBIG);
        }
        text.extend_from_slice(&chunk[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&dir.path().join("run")).expect("a store");
        (dir, store)
    }

    fn record(name: &str) -> Record {
        Record {
            name: name.into(),
            supervisor: std::process::id(),
            source: "web.toml".into(),
            cgroup: None,
            network: None,
            image: None,
            labels: Default::default(),
        }
    }

    fn names(store: &Store) -> Vec<OsString> {
        entries(&store.dir).expect("readable")
    }

    #[test]
    fn a_second_container_of_a_name_is_refused_while_the_first_lives() {
        let (_tmp, store) = store();
        let first = store.publish(&record("web"), |_| ()).expect("free");
        let second = store.publish(&record("web"), |_| panic!("it lives"));
        let pid = std::process::id();
        assert!(matches!(second, Err(StateError::Running { pid: Some(p), .. }) if p == pid));
        assert_eq!(names(&store), ["web"], "the refused one left nothing");
        first.remove().expect("removable");
        assert!(names(&store).is_empty());
    }

    #[test]
    fn a_dead_container_is_recovered_by_the_next_start() {
        let (_tmp, store) = store();
        drop(store.publish(&record("web"), |_| ()).expect("free"));
        let mut recovered = Vec::new();
        let next = store.publish(&record("web"), |r| recovered.push(r.name.clone()));
        next.expect("recovered").remove().expect("removable");
        assert_eq!(recovered, ["web"]);
    }

    #[test]
    fn sweep_removes_the_dead_and_leaves_the_living() {
        let (_tmp, store) = store();
        drop(store.publish(&record("dead"), |_| ()).expect("free"));
        let alive = store.publish(&record("alive"), |_| ()).expect("free");
        std::fs::create_dir(store.path().join(".new.999999999.half")).expect("half-made");
        let mut recovered = Vec::new();
        store
            .sweep(usize::MAX, |r| recovered.push(r.name.clone()))
            .expect("swept");
        assert_eq!(recovered, ["dead"]);
        assert_eq!(names(&store), ["alive"]);
        alive.remove().expect("removable");
    }

    #[test]
    fn what_was_never_published_is_removed_and_not_recovered_from() {
        let (_tmp, store) = store();
        drop(store.publish(&record("web"), |_| ()).expect("free"));
        let half = store.path().join(".new.999999999.web");
        std::fs::rename(store.path().join("web"), half).expect("half-made");
        let alive = store.publish(&record("web"), |_| ()).expect("free");
        store
            .sweep(usize::MAX, |dead| panic!("{} lives", dead.name))
            .expect("swept");
        assert_eq!(names(&store), ["web"]);
        assert!(store.is_running("web"));
        alive.remove().expect("removable");
    }

    #[test]
    fn a_record_without_an_image_or_with_a_strange_one_is_read_all_the_same() {
        let mut written = serde_json::to_value(record("web")).expect("JSON");
        let fields = written.as_object_mut().expect("an object");
        fields.remove("image");
        let read = |value| serde_json::from_value::<Record>(value).expect("a record");
        assert_eq!(read(written.clone()), record("web"));
        written["image"] = serde_json::json!({"name": 7});
        assert_eq!(read(written), record("web"));
    }

    #[test]
    fn only_a_living_container_is_found_by_name() {
        let (_tmp, store) = store();
        drop(store.publish(&record("dead"), |_| ()).expect("free"));
        let alive = store.publish(&record("alive"), |_| ()).expect("free");
        assert_eq!(store.running("alive"), Some(record("alive")));
        for name in ["dead", "absent", "ids", "../run/alive", ""] {
            assert_eq!(store.running(name), None, "{name:?}");
        }
        alive.remove().expect("removable");
    }

    #[test]
    fn a_run_root_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).expect("chmod");
        assert!(matches!(
            Store::open(dir.path()),
            Err(StateError::NotPrivate { .. })
        ));
    }

    #[test]
    fn two_containers_never_share_an_id_range() {
        let (_tmp, store) = store();
        let one = IdRange::claim(&store, 7).expect("free");
        let two = IdRange::claim(&store, 7).expect("the next");
        assert_eq!((one.slot(), two.slot()), (7, 8));
        assert_eq!(IdRange::first(8) - IdRange::first(7), IDS_PER_CONTAINER);
        one.release().expect("released");
        assert_eq!(IdRange::claim(&store, 7).expect("free again").slot(), 7);
    }

    #[test]
    fn the_last_id_range_ends_below_the_foreign_range_of_systemd() {
        let end = u64::from(IdRange::first(IDS_SLOTS - 1)) + u64::from(IDS_PER_CONTAINER);
        assert_eq!(end, 0x7ffe_0000);
    }
}
