//! What takes root: clones of mounts made in the parent's namespace, idmapped mounts, the host's root as
//! an overlay's layer.
//!
//! Each test stays in mount namespaces of its own, so it may run on any machine as root.

#![allow(unsafe_code, reason = "fork, pipes and ids")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests build trees on the host and look at them from inside by path"
)]

#[path = "common/container.rs"]
mod container;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rootfs::{
    Bind, Change, MountAttrs, Overlay, Proc, Propagation, Pts, Source, Tmpfs, TreeBuilder, Upper,
    change_mount, clone_mount, host_entries, idmap_mount,
};
use rustix::io::Errno;

use container::{ALL, Scene, apply, contained_as_root, errno, forked, mounts, path, unshare};

/// First id of the container on the host, and how many it has.
const OUTSIDE: u32 = 200_000;
const COUNT: u32 = 65_536;

/// A user namespace with ids of its own, as a file.
fn user_namespace() -> OwnedFd {
    let (mut ready, tell_ready) = std::io::pipe().expect("pipe");
    let (wait, end) = std::io::pipe().expect("pipe");
    // SAFETY: the child ends in _exit and allocates nothing.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(end);
        // SAFETY: plain integers, and a byte from this stack.
        unsafe {
            libc::unshare(libc::CLONE_NEWUSER);
            libc::write(tell_ready.as_raw_fd(), [0u8].as_ptr().cast(), 1);
            let mut byte = [0u8];
            libc::read(wait.as_raw_fd(), byte.as_mut_ptr().cast(), 1);
            libc::_exit(0)
        }
    }
    ready.read_exact(&mut [0]).expect("the child's byte");
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{map}"), format!("0 {OUTSIDE} {COUNT}")).expect(map);
    }
    let namespace = File::open(format!("/proc/{pid}/ns/user")).expect("the namespace");
    drop(end);
    // SAFETY: our own child; no status is wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    namespace.into()
}

/// PID 1 of new namespaces in `userns`, with what the parent opened.
fn contained_in(userns: &OwnedFd, body: impl FnOnce()) {
    forked(|| {
        // SAFETY: the fd is open, and this process has one thread.
        let result = unsafe { libc::setns(userns.as_raw_fd(), libc::CLONE_NEWUSER) };
        assert_eq!(result, 0, "setns");
        unshare(ALL);
        forked(body);
    });
}

/// Private `/`, ids and scratch.
fn start() -> TreeBuilder {
    let mut tree = TreeBuilder::new(Propagation::Private);
    tree.ids(0, 0, true).expect("ids");
    tree.scratch(None).expect("scratch");
    tree
}

fn kernel_mounts(tree: &mut TreeBuilder) {
    tree.proc(&Proc::default()).expect("proc");
    tree.sysfs().expect("sysfs");
    tree.cgroup2(true).expect("cgroup2");
    tree.dev().expect("dev");
    tree.devpts(&Pts {
        gid: Some(5),
        max: 16,
    })
    .expect("devpts");
    tree.shm(1 << 20).expect("shm");
    tree.mqueue().expect("mqueue");
}

fn finish(mut tree: TreeBuilder, passed: &[RawFd]) -> Result<(), container::Failed> {
    tree.pivot().expect("pivot");
    apply(&tree.build(), passed)
}

/// A directory with mode 0755 on the way, so that the container's ids may walk it.
fn open_scene() -> Scene {
    let scene = Scene::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let parent = scene.root().parent().expect("a parent").to_path_buf();
    std::fs::set_permissions(parent, mode).expect("chmod");
    scene
}

/// Whether the scene's file system can be idmapped: a tmpfs cannot before Linux 6.3, and the machine
/// that runs this may have one as /tmp.
fn idmapped(path: &Path, userns: &OwnedFd) -> Result<OwnedFd, rootfs::Error> {
    let mount = clone_mount(path, false).expect("clone");
    idmap_mount(mount.as_fd(), path, false, userns.as_fd()).map(|()| mount)
}

/// Linux 6.3 taught tmpfs to be idmapped.
fn tmpfs_can_be_idmapped() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(3))
}

/// Runs `body` in a mount namespace with a fresh tmpfs at the scene's root.
fn on_tmpfs(scene: &Scene, attrs: MountAttrs, body: impl FnOnce()) {
    forked(|| {
        unshare(libc::CLONE_NEWNS);
        let mut tree = TreeBuilder::new(Propagation::Private);
        tree.root_bind(&path(Path::new("/")), true).expect("root");
        let tmpfs = Tmpfs {
            mode: Some(0o755),
            attrs,
            ..Tmpfs::default()
        };
        tree.tmpfs(&scene.root(), &tmpfs).expect("tmpfs");
        apply(&tree.build(), &[]).expect("all steps");
        // The copy of the host's tree lies over `/`: step into it.
        rustix::process::chdir("/..").expect("chdir");
        rustix::process::chroot(".").expect("chroot");
        body();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_idmapped_tmpfs_shows_the_containers_own_ids_or_the_kernel_is_too_old() {
    let scene = open_scene();
    let userns = user_namespace();
    on_tmpfs(&scene, MountAttrs::empty(), || {
        scene.mkdir("etc").write("etc/owned", "");
        rustix::fs::chown(
            scene.root().join("etc/owned"),
            Some(rustix::process::Uid::from_raw(33)),
            Some(rustix::process::Gid::from_raw(33)),
        )
        .expect("chown");
        let mount = match idmapped(&scene.root(), &userns) {
            Ok(mount) => mount,
            Err(error) => {
                assert!(!tmpfs_can_be_idmapped(), "{error}");
                assert_eq!(error.errno(), Some(Errno::INVAL));
                assert!(
                    error
                        .hint()
                        .is_some_and(|hint| hint.contains("tmpfs from Linux 6.3"))
                );
                return;
            }
        };
        assert!(
            tmpfs_can_be_idmapped(),
            "a kernel older than 6.3 idmapped a tmpfs"
        );
        contained_in(&userns, || {
            let mut tree = start();
            tree.root_bind(&Source::Passed(0), false).expect("root");
            kernel_mounts(&mut tree);
            finish(tree, &[mount.as_raw_fd()]).expect("all steps");
            let meta = std::fs::metadata("/etc/owned").expect("owned");
            assert_eq!((meta.uid(), meta.gid()), (33, 33));
            std::fs::write("/etc/new", "").expect("container root owns it");
            assert_eq!(std::fs::metadata("/dev/shm").expect("shm").uid(), 0);
            assert!(
                mounts()["/dev/pts"].contains("gid="),
                "{}",
                mounts()["/dev/pts"]
            );
        });
        // On disk it belongs to root, as the rest of the image does.
        assert_eq!(
            std::fs::metadata(scene.root().join("etc/new"))
                .expect("new")
                .uid(),
            0
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn without_an_idmap_the_mount_points_of_a_foreign_root_are_explained() {
    let scene = open_scene();
    let userns = user_namespace();
    let mount = clone_mount(&scene.root(), false).expect("clone");
    contained_in(&userns, || {
        let mut tree = start();
        tree.root_bind(&Source::Passed(0), false).expect("root");
        tree.proc(&Proc::default()).expect("proc");
        let failed = finish(tree, &[mount.as_raw_fd()]).expect_err("root's directory");
        assert_eq!(failed.errno, Errno::ACCESS);
        assert!(
            failed.hint.is_some_and(|hint| hint.contains("id map")),
            "{failed:?}"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_hosts_root_serves_as_a_layer_without_what_is_mounted_below() {
    let scene = open_scene();
    let userns = user_namespace();
    // The twin: the same in the host's user namespace, where attributes are trusted.
    for own_ids in [true, false] {
        let mount = clone_mount(Path::new("/"), false).expect("clone");
        let body = || {
            let mut tree = start();
            let overlay = Overlay {
                lowers: vec![Source::Passed(0)],
                upper: Upper::Ephemeral,
                userxattr: own_ids,
            };
            tree.root_overlay(&overlay).expect("overlay");
            kernel_mounts(&mut tree);
            tree.hide_dir("/tmp".as_ref(), 0o1777).expect("hide");
            tree.hide_dir("/root".as_ref(), 0o700).expect("hide");
            finish(tree, &[mount.as_raw_fd()]).expect("all steps");
            assert!(mounts()["/"].contains("overlay"));
            assert!(Path::new("/bin").exists());
            std::fs::write("/of-a-rootfs-test", "").expect("into the throw-away layer");
            assert_eq!(std::fs::read_dir("/tmp").expect("tmp").count(), 0);
            // All that is mounted is ours.
            let ours = ["/", "/proc", "/sys", "/dev", "/tmp", "/root"];
            for at in mounts().keys() {
                assert!(
                    ours.contains(&at.as_str())
                        || at.starts_with("/dev/")
                        || at == "/sys/fs/cgroup",
                    "{at}"
                );
            }
        };
        if own_ids {
            contained_in(&userns, body);
        } else {
            contained_as_root(body);
        }
        assert!(!Path::new("/of-a-rootfs-test").exists());
    }
    scene.assert_canary_alive();
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn idmapped_layers_and_an_idmapped_upper_keep_roots_ids_on_disk() {
    let scene = open_scene();
    let userns = user_namespace();
    let prepare = || {
        for dir in ["top", "base", "disk/upper", "disk/work"] {
            scene.mkdir(dir);
        }
        scene.write("base/old", "old");
    };
    let run = || {
        prepare();
        let dir = |name: &str| scene.root().join(name);
        let mounts: Result<Vec<OwnedFd>, _> = ["top", "base", "disk"]
            .map(|name| idmapped(&dir(name), &userns))
            .into_iter()
            .collect();
        let mounts = match mounts {
            Ok(mounts) => mounts,
            Err(error) => {
                assert!(!tmpfs_can_be_idmapped(), "{error}");
                return;
            }
        };
        let passed: Vec<RawFd> = mounts.iter().map(|mount| mount.as_raw_fd()).collect();
        contained_in(&userns, || {
            let mut tree = start();
            let overlay = Overlay {
                lowers: vec![Source::Passed(0), Source::Passed(1)],
                upper: Upper::Directory(Source::Passed(2)),
                userxattr: true,
            };
            tree.root_overlay(&overlay).expect("overlay");
            tree.proc(&Proc::default()).expect("proc");
            finish(tree, &passed).expect("all steps");
            assert_eq!(std::fs::metadata("/old").expect("old").uid(), 0);
            std::fs::write("/old", "new").expect("copied up");
            std::fs::write("/added", "").expect("added");
        });
        assert_eq!(
            std::fs::read_to_string(dir("base/old")).expect("old"),
            "old"
        );
        for name in ["disk/upper/old", "disk/upper/added"] {
            assert_eq!(
                std::fs::metadata(dir(name)).expect(name).uid(),
                0,
                "{name} on disk"
            );
        }
    };
    on_tmpfs(&scene, MountAttrs::empty(), run);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn file_systems_that_cannot_be_idmapped_are_explained() {
    let userns = user_namespace();
    let error = idmapped(Path::new("/proc"), &userns).expect_err("proc");
    assert_eq!(error.errno(), Some(Errno::INVAL));
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("cannot be idmapped")),
        "{error}"
    );
    assert!(error.to_string().contains("MOUNT_ATTR_IDMAP"), "{error}");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_passed_mount_is_bound_with_the_flags_the_parent_and_the_tree_give() {
    let scene = open_scene();
    let source = scene.beside("source");
    std::fs::write(source.join("file"), "bound").expect("a file");
    let mount = clone_mount(&source, false).expect("clone");
    let change = Change::set(MountAttrs::NOSUID | MountAttrs::NODEV);
    change_mount(mount.as_fd(), &source, false, &change).expect("flags");
    contained_as_root(|| {
        let mut tree = start();
        tree.root_bind(&path(&scene.root()), false).expect("root");
        tree.proc(&Proc::default()).expect("proc");
        let bind = Bind {
            source: Source::Passed(0),
            at: "/data".into(),
            recursive: false,
            change: Change::set(MountAttrs::RDONLY),
        };
        tree.bind(&bind).expect("bind");
        finish(tree, &[mount.as_raw_fd()]).expect("all steps");
        assert_eq!(
            std::fs::read_to_string("/data/file").expect("file"),
            "bound"
        );
        assert_eq!(errno(std::fs::write("/data/file", "")), Some(Errno::ROFS));
        assert!(
            mounts()["/data"].starts_with("ro,nosuid,nodev"),
            "{}",
            mounts()["/data"]
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn flags_of_a_more_privileged_namespace_cannot_be_cleared() {
    let scene = open_scene();
    let userns = user_namespace();
    on_tmpfs(&scene, MountAttrs::NODEV, || {
        contained_in(&userns, || {
            let mut tree = start();
            tree.root_bind(&path(&scene.root()), false).expect("root");
            let clear = Change {
                clear: MountAttrs::NODEV,
                ..Change::default()
            };
            tree.root_change(clear, false).expect("change");
            let failed = finish(tree, &[]).expect_err("a locked flag");
            assert_eq!(failed.errno, Errno::PERM);
            assert!(
                failed
                    .hint
                    .is_some_and(|hint| hint.contains("cannot be cleared"))
            );
        });
        // The benign twin: adding flags is allowed.
        contained_in(&userns, || {
            let mut tree = start();
            tree.root_bind(&path(&scene.root()), false).expect("root");
            tree.root_change(Change::set(MountAttrs::NOSUID), false)
                .expect("change");
            finish(tree, &[]).expect("all steps");
        });
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_slave_bind_gets_what_the_host_mounts_later_and_a_private_one_does_not() {
    let scene = open_scene();
    let source = scene.beside("source");
    scene.beside("source/below");
    for (start, propagation, expected) in [
        (Propagation::Slave, Some(Propagation::Slave), true),
        (Propagation::Slave, Some(Propagation::Private), false),
        (Propagation::Private, None, false),
    ] {
        let (mut built, tell_built) = std::io::pipe().expect("pipe");
        let (wait_mounted, mut mounted) = std::io::pipe().expect("pipe");
        forked(|| {
            unshare(libc::CLONE_NEWNS);
            // The machine's mounts, shared among namespaces as systemd leaves them.
            let shared = rustix::mount::MountPropagationFlags::SHARED
                | rustix::mount::MountPropagationFlags::REC;
            let private = rustix::mount::MountPropagationFlags::PRIVATE
                | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).expect("cut from the machine");
            rustix::mount::mount_change("/", shared).expect("shared");
            // SAFETY: a process with one thread; the child ends in _exit.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                contained_as_root(|| {
                    let mut tree = TreeBuilder::new(start);
                    tree.root_bind(&path(&scene.root()), false).expect("root");
                    let change = Change {
                        propagation,
                        ..Change::default()
                    };
                    let (source, at) = (path(&source), "/data".into());
                    let bind = Bind {
                        source,
                        at,
                        recursive: false,
                        change,
                    };
                    tree.bind(&bind).expect("bind");
                    finish(tree, &[]).expect("all steps");
                    (&tell_built).write_all(&[0]).expect("write");
                    (&wait_mounted).read_exact(&mut [0]).expect("read");
                    let seen = Path::new("/data/below/from-the-host").exists();
                    assert_eq!(seen, expected, "{start:?} {propagation:?}");
                });
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) }
            }
            built.read_exact(&mut [0]).expect("the child's byte");
            mount_tmpfs_with_a_file(&source.join("below"));
            mounted.write_all(&[0]).expect("write");
            let mut status = 0;
            // SAFETY: `status` is ours and the kernel writes one int through it.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(status, 0, "wait status of the container");
        });
    }
}

fn mount_tmpfs_with_a_file(at: &Path) {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
    let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).expect("fsopen");
    rustix::mount::fsconfig_create(&fs).expect("create");
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(&fs, flags, MountAttrFlags::empty()).expect("fsmount");
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", rustix::fs::CWD, at, flags).expect("move_mount");
    std::fs::write(at.join("from-the-host"), "").expect("a file");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_clone_without_rights_is_refused_with_the_capability_named() {
    forked(|| {
        let id = rustix::process::Uid::from_raw(1000);
        rustix::thread::set_thread_res_uid(id, id, id).expect("setresuid");
        let error = clone_mount(Path::new("/"), false).expect_err("no CAP_SYS_ADMIN");
        assert_eq!(error.errno(), Some(Errno::PERM));
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("CAP_SYS_ADMIN"))
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_ephemeral_layer_replaces_a_directory_of_a_lower_one() {
    let scene = open_scene();
    scene.mkdir("dir").write("dir/old", "");
    // In the host's user namespace attributes are `trusted.*`, which any tmpfs has.
    let mount = clone_mount(&scene.root(), false).expect("clone");
    contained_as_root(|| {
        let mut tree = start();
        let lowers = vec![Source::Passed(0)];
        let overlay = Overlay {
            lowers,
            upper: Upper::Ephemeral,
            userxattr: false,
        };
        tree.root_overlay(&overlay).expect("overlay");
        finish(tree, &[mount.as_raw_fd()]).expect("all steps");
        std::fs::remove_dir_all("/dir").expect("whited out");
        std::fs::create_dir("/dir").expect("opaque");
        assert_eq!(std::fs::read_dir("/dir").expect("dir").count(), 0);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_hosts_entries_are_what_its_root_holds() {
    let entries = host_entries(&["proc"]).expect("entries");
    let names: Vec<&str> = entries
        .iter()
        .filter_map(|e| e.name.to_str().ok())
        .collect();
    assert!(names.contains(&"bin") && !names.contains(&"proc") && !names.contains(&"."));
    assert!(names.is_sorted());
}
