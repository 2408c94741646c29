//! /proc, /sys, /dev and what is in them.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use rootfs::{
    Device, Filesystem, FsOption, HidePid, MountAttrs, Proc, Propagation, Pts, Tmpfs, TreeBuilder,
};
use rustix::io::Errno;

use crate::container::{Scene, contained, enter, enter_bind, errno, forked, mounts, path, unshare};

fn everything(tree: &mut TreeBuilder) -> Result<(), rootfs::Error> {
    tree.proc(&Proc::default())?;
    tree.sysfs()?;
    tree.cgroup2(true)?;
    tree.dev()?;
    tree.devpts(&Pts::default())?;
    tree.shm(1 << 20)?;
    tree.mqueue()?;
    tree.mask(&["/proc/keys", "/sys/firmware", "/not/there"])?;
    tree.readonly_leaf(&["/proc/sys", "/proc/bus"])?;
    tree.file("/etc/resolv.conf".as_ref(), b"nameserver 192.0.2.1\n")?;
    tree.hide_dir("/etc/hidden".as_ref(), 0o700)?;
    Ok(())
}

#[test]
fn an_empty_directory_gets_the_mount_points_it_lacks() {
    let scene = Scene::new();
    contained(|| {
        enter_bind(&scene.root(), everything).expect("all steps");
        let mounts = mounts();
        for at in [
            "/",
            "/proc",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
        ] {
            assert!(mounts.contains_key(at), "{at} in {mounts:?}");
        }
        assert!(
            mounts["/sys"].contains("ro,nosuid,nodev,noexec"),
            "{}",
            mounts["/sys"]
        );
        assert!(
            mounts["/proc"].contains("rw,nosuid,nodev,noexec"),
            "{}",
            mounts["/proc"]
        );
        assert!(
            mounts["/sys/fs/cgroup"].contains("cgroup2"),
            "{}",
            mounts["/sys/fs/cgroup"]
        );
        assert!(
            mounts["/dev"].contains("nosuid,noexec"),
            "{}",
            mounts["/dev"]
        );
        assert_eq!(
            errno(std::fs::create_dir("/sys/fs/cgroup/x")),
            Some(Errno::ROFS)
        );
    });
    // The user's directory holds the mount points now, and nothing else.
    let mut names: Vec<_> = std::fs::read_dir(scene.root())
        .expect("readdir")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["dev", "etc", "proc", "sys"]);
    scene.assert_canary_alive();
}

#[test]
fn nothing_of_the_host_is_reachable_after_pivot() {
    let scene = Scene::new();
    let over = scene.beside("over");
    for scratch in [None, Some(false), Some(true)] {
        contained(|| {
            let mut tree = TreeBuilder::new(Propagation::Private);
            tree.ids(0, 0, false).expect("ids");
            match scratch {
                Some(true) => {
                    let over = path(&over);
                    let rootfs::Source::Path(over) = over else {
                        unreachable!("a path")
                    };
                    tree.scratch_over(None, &over).expect("scratch");
                }
                Some(false) => drop(tree.scratch(None).expect("scratch")),
                None => {}
            }
            tree.root_bind(&path(&scene.root()), false).expect("root");
            tree.proc(&Proc::default()).expect("proc");
            tree.pivot().expect("pivot");
            crate::container::apply(&tree.build(), &[]).expect("all steps");
            let mounts: Vec<String> = mounts().into_keys().collect();
            assert_eq!(mounts, ["/", "/proc"]);
            let (here, above) = (std::fs::metadata("/"), std::fs::metadata("/../../.."));
            let (here, above) = (here.expect("/"), above.expect("/.."));
            assert_eq!((here.dev(), here.ino()), (above.dev(), above.ino()));
            assert_eq!(std::env::current_dir().expect("getcwd"), Path::new("/"));
            // What the steps opened does not survive exec.
            for entry in std::fs::read_dir("/proc/self/fd").expect("fds") {
                let name = entry.expect("entry").file_name();
                let fd: i32 = name
                    .to_str()
                    .and_then(|n| n.parse().ok())
                    .expect("a number");
                let Ok(link) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else {
                    continue;
                };
                // SAFETY: F_GETFD takes no pointer.
                let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
                let is_tree =
                    link.is_absolute() && std::fs::metadata(&link).is_ok_and(|m| m.is_dir());
                assert!(!is_tree || flags & libc::FD_CLOEXEC != 0, "{fd} {link:?}");
            }
        });
    }
}

#[test]
fn a_host_root_with_a_mount_over_it_is_refused_rather_than_left_reachable() {
    let scene = Scene::new();
    contained(|| {
        // As the scratch of another engine would lie there.
        let fs = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC);
        let fs = fs.expect("fsopen");
        rustix::mount::fsconfig_create(&fs).expect("create");
        let mount = rustix::mount::fsmount(
            &fs,
            rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC,
            rustix::mount::MountAttrFlags::empty(),
        );
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        let cwd = rustix::fs::CWD;
        rustix::mount::move_mount(mount.expect("fsmount"), "", cwd, "/", flags).expect("move");
        let failed =
            enter_bind(&scene.root(), |_| Ok(())).expect_err("the old root is still there");
        assert_eq!(
            (failed.step.as_str(), failed.errno),
            ("chdir(\"/\")", Errno::XDEV)
        );
        assert!(failed.hint.is_some_and(|hint| hint.contains("/..")));
    });
}

#[test]
fn no_step_allocates() {
    let scene = Scene::new();
    scene
        .mkdir("etc/hidden")
        .link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    contained(|| {
        let mut tree = TreeBuilder::new(Propagation::Private);
        tree.ids(0, 0, false).expect("ids");
        tree.scratch(None).expect("scratch");
        tree.root_bind(&path(&scene.root()), false).expect("root");
        everything(&mut tree).expect("a tree");
        tree.pivot().expect("pivot");
        tree.workdir("/srv/a/b".as_ref(), true).expect("workdir");
        let tree = tree.build();
        for step in 0..tree.len() {
            crate::ARMED.store(true, Ordering::Relaxed);
            // SAFETY: a forked child with one thread; nothing is passed.
            let result = unsafe { tree.apply(step, &[]) };
            crate::ARMED.store(false, Ordering::Relaxed);
            assert_eq!(result, Ok(()), "{}", tree.describe(step));
        }
    });
}

#[test]
fn modes_do_not_depend_on_the_callers_umask() {
    for umask in [0, 0o777] {
        let scene = Scene::new();
        contained(|| {
            // SAFETY: umask(2) takes a number.
            unsafe { libc::umask(umask) };
            enter_bind(&scene.root(), everything).expect("all steps");
            let mode =
                |path: &str| std::fs::metadata(path).expect(path).permissions().mode() & 0o7777;
            assert_eq!(mode("/dev"), 0o755);
            assert_eq!(mode("/dev/shm"), 0o1777);
            assert_eq!(mode("/dev/null"), 0o666);
            assert_eq!(mode("/etc"), 0o755);
            assert_eq!(mode("/etc/resolv.conf"), 0o644);
            std::fs::write("/new", "").expect("a file");
            assert_eq!(mode("/new"), 0o644, "umask 022 at the end");
        });
    }
}

#[test]
fn devices_are_the_hosts_and_work() {
    let scene = Scene::new();
    contained(|| {
        enter_bind(&scene.root(), everything).expect("all steps");
        for (name, major, minor) in [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ] {
            let meta = std::fs::metadata(format!("/dev/{name}")).expect(name);
            assert!(meta.file_type().is_char_device(), "{name}");
            assert_eq!(meta.rdev(), libc::makedev(major, minor), "{name}");
        }
        std::fs::write("/dev/null", "gone").expect("/dev/null takes all");
        assert_eq!(errno(std::fs::write("/dev/full", "x")), Some(Errno::NOSPC));
        let mut bytes = [1; 4];
        std::fs::File::open("/dev/zero")
            .and_then(|mut f| f.read_exact(&mut bytes))
            .expect("zero");
        assert_eq!(bytes, [0; 4]);
        for (link, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("ptmx", "pts/ptmx"),
        ] {
            assert_eq!(
                std::fs::read_link(format!("/dev/{link}")).expect(link),
                Path::new(target)
            );
        }
        // /dev is small and its nodes cannot be made, but it is writable.
        std::fs::write("/dev/log", "").expect("a file in /dev");
        assert_eq!(
            errno(std::fs::write("/dev/fill", vec![0; 2 << 20])),
            Some(Errno::NOSPC)
        );
        assert_eq!(
            errno(std::fs::write("/dev/shm/fill", vec![0; 2 << 20])),
            Some(Errno::NOSPC)
        );
    });
}

#[test]
fn terminals_are_the_containers_own() {
    let scene = Scene::new();
    contained(|| {
        enter_bind(&scene.root(), everything).expect("all steps");
        let master = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/ptmx")
            .expect("ptmx");
        let unlock = 0;
        // SAFETY: TIOCSPTLCK reads one int, which lives on this stack.
        let result =
            unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) };
        assert_eq!(result, 0);
        let mut slave = std::fs::File::options()
            .write(true)
            .open("/dev/pts/0")
            .expect("the first");
        slave.write_all(b"x").expect("write");
        let mut bytes = [0];
        (&master).read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"x");
    });
}

#[test]
fn what_is_not_the_device_asked_for_is_refused() {
    let scene = Scene::new();
    scene.write("plain", "").link("null", "/dev/null");
    let source = |name: &str| {
        let rootfs::Source::Path(path) = path(&scene.root().join(name)) else {
            unreachable!("a path")
        };
        path
    };
    for (path, number) in [
        (source("plain"), None),
        (c"/dev/zero".into(), Some((1, 3))),
        (source("."), None),
    ] {
        contained(|| {
            let device = Device {
                path,
                at: "/dev/x".into(),
                number,
            };
            let failed = enter_bind(&scene.root(), |tree| {
                tree.dev()?;
                tree.device(&device).map(drop)
            })
            .expect_err("not that device");
            assert_eq!(failed.errno, Errno::NODEV);
            assert!(failed.hint.is_some());
        });
    }
    // The benign twin: a link of the host's to the right device.
    contained(|| {
        let device = Device {
            path: source("null"),
            at: "/dev/x".into(),
            number: Some((1, 3)),
        };
        enter_bind(&scene.root(), |tree| {
            tree.dev()?;
            tree.device(&device).map(drop)
        })
        .expect("all steps");
        assert_eq!(
            std::fs::metadata("/dev/x").expect("x").rdev(),
            libc::makedev(1, 3)
        );
    });
}

#[test]
fn kernel_parameters_are_written_through_our_own_procfs() {
    let scene = Scene::new();
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.sysctl("net.ipv4.ip_default_ttl", "77")?;
            tree.readonly_leaf(&["/proc/sys"]).map(drop)
        })
        .expect("all steps");
        let value = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("ttl");
        assert_eq!(value, "77\n");
        let written = std::fs::write("/proc/sys/net/ipv4/ip_default_ttl", "1");
        assert_eq!(errno(written), Some(Errno::ROFS));
    });
    // Only names that nobody can write: whoever runs this may be root on the host as well, and then a
    // parameter without a namespace would be the host's.
    for (name, value, expected) in [
        ("net.core.no_such_thing", "1", Errno::NOENT),
        ("net.ipv4.ip_default_ttl", "many", Errno::INVAL),
        ("kernel.ostype", "x", Errno::ACCESS),
    ] {
        contained(|| {
            let failed = enter_bind(&scene.root(), |tree| {
                tree.proc(&Proc::default())?;
                tree.sysctl(name, value).map(drop)
            })
            .expect_err(name);
            assert_eq!(failed.errno, expected, "{name}");
            assert!(failed.hint.is_some(), "{name}");
        });
    }
}

#[test]
fn procfs_takes_its_options() {
    let scene = Scene::new();
    contained(|| {
        let proc = Proc {
            subset_pid: true,
            hidepid: Some(HidePid::Invisible),
        };
        enter_bind(&scene.root(), |tree| tree.proc(&proc).map(drop)).expect("all steps");
        let line = &mounts()["/proc"];
        assert!(
            line.contains("hidepid=invisible") && line.contains("subset=pid"),
            "{line}"
        );
        assert_eq!(
            errno(std::fs::metadata("/proc/meminfo")),
            Some(Errno::NOENT)
        );
    });
}

#[test]
fn a_tmpfs_takes_its_options() {
    let scene = Scene::new();
    contained(|| {
        let tmpfs = Tmpfs {
            size: Some(64 << 10),
            mode: Some(0o750),
            owner: Some((0, 0)),
            nr_inodes: Some(4),
            attrs: MountAttrs::NOEXEC | MountAttrs::NOATIME,
        };
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.tmpfs("/var/tmp".as_ref(), &tmpfs).map(drop)
        })
        .expect("all steps");
        let line = &mounts()["/var/tmp"];
        for part in ["noexec", "noatime", "size=64k", "nr_inodes=4", "mode=750"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(
            errno(std::fs::write("/var/tmp/x", vec![0; 128 << 10])),
            Some(Errno::NOSPC)
        );
    });
}

#[test]
fn any_file_system_can_be_asked_for_by_name() {
    let scene = Scene::new();
    let filesystem = |fs_type: &str, options| Filesystem {
        fs_type: fs_type.into(),
        source: Some("shown".into()),
        at: "/mnt".into(),
        options,
        attrs: MountAttrs::NODEV,
    };
    contained(|| {
        let tmpfs = filesystem(
            "tmpfs",
            vec![
                FsOption::Value("size".into(), "4096".into()),
                FsOption::Flag("inode64".into()),
            ],
        );
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.filesystem(&tmpfs).map(drop)
        })
        .expect("all steps");
        let line = &mounts()["/mnt"];
        assert!(
            line.contains("tmpfs shown") && line.contains("size=4k"),
            "{line}"
        );
    });
    contained(|| {
        let none = filesystem("no-such-fs", Vec::new());
        let failed = enter_bind(&scene.root(), |tree| tree.filesystem(&none).map(drop));
        let failed = failed.expect_err("no such file system");
        assert_eq!(
            (failed.errno, failed.step.as_str()),
            (Errno::NODEV, "fsopen(\"no-such-fs\", FSOPEN_CLOEXEC)")
        );
        assert!(failed.hint.is_some());
    });
}

#[test]
fn sysfs_without_a_network_namespace_is_refused_and_the_hosts_own_can_be_bound() {
    let scene = Scene::new();
    let without_network = |body: &dyn Fn()| {
        forked(|| {
            let (uid, gid) = (
                rustix::process::getuid().as_raw(),
                rustix::process::getgid().as_raw(),
            );
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID);
            std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
            std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
            std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
            forked(body);
        });
    };
    without_network(&|| {
        let failed = enter_bind(&scene.root(), |tree| tree.sysfs().map(drop)).expect_err("sysfs");
        assert_eq!(failed.errno, Errno::PERM);
        assert!(
            failed
                .hint
                .is_some_and(|hint| hint.contains("network namespace"))
        );
    });
    without_network(&|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.host_sys().map(drop)
        })
        .expect("all steps");
        assert!(mounts()["/sys"].contains("ro,nosuid,nodev,noexec"));
        assert!(std::fs::metadata("/sys/kernel").expect("sysfs").is_dir());
    });
}

#[test]
fn a_masked_proc_lets_no_new_one_be_mounted_below_and_the_hint_says_so() {
    let scene = Scene::new();
    contained(|| {
        enter(|tree| {
            tree.root_bind(&path(&scene.root()), false)?;
            tree.proc(&Proc::default())?;
            tree.mask(&["/proc/keys", "/proc/timer_list"]).map(drop)
        })
        .expect("all steps");
        // A container in the container.
        std::fs::create_dir_all("/inner").expect("a root");
        contained(|| {
            let failed = enter_bind("/inner".as_ref(), |tree| {
                tree.proc(&Proc::default()).map(drop)
            });
            let failed = failed.expect_err("proc is not fully visible");
            assert_eq!(failed.errno, Errno::PERM);
            assert!(failed.hint.is_some_and(|hint| hint.contains("visible")));
        });
    });
}
