//! What a container's root says: its user databases, and what its file system can bear.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::{USER_FILE_LIMIT, kernel};
use crate::error::Diagnostic;
use crate::host::{RootFacts, UserFiles};
use crate::spec::{At, Origin, Root, Spec, User};
use crate::tree::{Tree, Walk, read_at};

/// Files of `/etc` that are laid over, by their names and as they are relative to the root.
const NAME_FILES: [(&str, &str); 3] = [
    ("hosts", "etc/hosts"),
    ("hostname", "etc/hostname"),
    ("resolv.conf", "etc/resolv.conf"),
];

/// The directories of the root, topmost first.
pub(crate) fn layers(spec: &Spec) -> Result<Vec<OwnedFd>, Diagnostic> {
    let At { value, origin } = &spec.root;
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            let problem = match errno {
                Errno::NOENT => format!("the root directory {path:?} does not exist"),
                Errno::NOTDIR => format!("the root {path:?} is not a directory"),
                _ => format!("cannot open the root directory {path:?}: {errno}"),
            };
            Diagnostic::input(*origin, problem)
        })
    };
    let directories: Vec<&Path> = match value {
        Root::Host => vec![Path::new("/")],
        Root::Directory(path) => vec![path],
        Root::Overlay { lowers, .. } => lowers.iter().map(AsRef::as_ref).collect(),
    };
    if directories.is_empty() {
        return Err(Diagnostic::input(
            *origin,
            "an overlay needs a lower directory",
        ));
    }
    directories.into_iter().map(open).collect()
}

/// `/etc/passwd` and `/etc/group` of the container, when its user has to be looked up.
pub(super) fn user_files(spec: &Spec, tree: Tree<'_>) -> Result<UserFiles, Diagnostic> {
    let root = User::Id {
        uid: 0,
        group: None,
    };
    let At { value, origin } = &spec.process.user;
    let is_directory = |fd: &OwnedFd| {
        rustix::fs::fstat(fd)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    };
    let has_etc = tree
        .find("etc".as_ref())
        .is_ok_and(|etc| is_directory(&etc));
    if !has_etc || (*origin == Origin::Default && *value == root) {
        return Ok(UserFiles {
            has_etc,
            ..UserFiles::default()
        });
    }
    let read = |path: &str| {
        read(tree, path.as_ref()).map_err(|why| {
            Diagnostic::input(
                *origin,
                format!("cannot read the container's /{path}: {why}"),
            )
        })
    };
    Ok(UserFiles {
        passwd: read("etc/passwd")?,
        group: read("etc/group")?,
        has_etc,
    })
}

/// A file of the container, if it is there.
fn read(tree: Tree<'_>, path: &Path) -> Result<Option<Vec<u8>>, String> {
    let found = match tree.walk(path) {
        Walk::Found(found) => found,
        Walk::Missing { .. } | Walk::NotDirectory { .. } => return Ok(None),
        Walk::Loop { at } => return Err(format!("the links at {at:?} go in a circle")),
        Walk::Failed(errno) => return Err(errno.to_string()),
    };
    if found.kind() != FileType::RegularFile {
        return Err("it is not a regular file".into());
    }
    let bytes = tree
        .open_regular(&found.real)
        .and_then(|file| read_at(&file, 0, USER_FILE_LIMIT + 1))
        .map_err(|errno| errno.to_string())?;
    if bytes.len() > USER_FILE_LIMIT {
        return Err(format!("it has more than {USER_FILE_LIMIT} bytes"));
    }
    Ok(Some(bytes))
}

/// What the root can bear.
pub(super) fn facts(layers: &[BorrowedFd<'_>], tree: Tree<'_>, users: &UserFiles) -> RootFacts {
    let Some(top) = layers.first() else {
        return RootFacts::default();
    };
    let fs = rustix::fs::fstatfs(top).ok();
    let flags = rustix::fs::fstatvfs(top).map(|fs| fs.f_flag);
    let is_link =
        |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    // `None` also where `/etc` is a link, or not ours to read: then each is looked for by itself.
    let etc = match users.has_etc {
        true => tree.directory("etc".as_ref()).ok(),
        false => None,
    };
    let is_here = |name: &str, path: &str| match etc.as_ref().map(|etc| etc.stat(name)) {
        Some(Ok(stat)) if !is_link(&stat) => true,
        Some(Err(Errno::NOENT)) => false,
        _ => users.has_etc && tree.find(path.as_ref()).is_ok(),
    };
    RootFacts {
        read_only: flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY)),
        idmaps: fs.is_none_or(|fs| may_be_idmapped(fs.f_type, kernel())),
        name_files: NAME_FILES
            .into_iter()
            .filter(|(name, path)| is_here(name, path))
            .map(|(_, path)| path)
            .collect(),
    }
}

/// Whether mounts of this type can be idmapped. The kernel tells only by refusing; of what is not
/// known here the start finds out.
fn may_be_idmapped(magic: rustix::fs::FsWord, kernel: (u32, u32)) -> bool {
    const OVERLAYFS_SUPER_MAGIC: rustix::fs::FsWord = 0x794c_7630;
    match magic {
        OVERLAYFS_SUPER_MAGIC | rustix::fs::NFS_SUPER_MAGIC => false,
        libc::TMPFS_MAGIC => kernel >= (6, 3),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("etc")).expect("etc");
        fs::write(at("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
        fs::write(at("outside"), "no").expect("a file");
        for (link, target) in [
            ("etc/inside", "/etc/passwd"),
            ("etc/up", "../../../../../../etc/passwd"),
            ("etc/circle", "circle"),
            ("etc/fd", "/proc/self/fd/0"),
        ] {
            symlink(target, at(link)).expect(link);
        }
        symlink(at("outside"), at("etc/out")).expect("link");
        let fifo = FileType::Fifo;
        rustix::fs::mknodat(CWD, at("etc/fifo"), fifo, Mode::from_raw_mode(0o644), 0)
            .expect("mknod");
        let big = File::create(at("etc/big")).expect("a file");
        big.set_len(8 << 30).expect("sparse");
        let root = File::open(dir.path()).expect("root");
        let layers = [root.as_fd()];
        let tree = Tree::new(&layers);
        for good in ["etc/passwd", "/etc/inside", "/etc/up", "/../etc/passwd"] {
            let bytes = read(tree, good.as_ref()).expect(good).expect(good);
            assert_eq!(bytes, b"root:x:0:0::/:/bin/sh\n", "{good}");
        }
        for absent in ["etc/none", "etc/out", "etc/fd", "etc/passwd/x"] {
            assert_eq!(read(tree, absent.as_ref()), Ok(None), "{absent}");
        }
        for (path, why) in [
            ("etc/fifo", "it is not a regular file"),
            ("etc", "it is not a regular file"),
            ("etc/circle", "the links at \"/etc/circle\" go in a circle"),
            ("etc/big", "it has more than 1048576 bytes"),
        ] {
            assert_eq!(read(tree, path.as_ref()), Err(why.into()), "{path}");
        }
    }
}
