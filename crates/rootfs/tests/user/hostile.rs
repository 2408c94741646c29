//! Roots that try to lead out, each with a harmless twin of the same shape that must work.

use std::path::Path;
use std::time::{Duration, Instant};

use rootfs::{Bind, Change, Proc, Pts, Tmpfs, TreeBuilder};
use rustix::io::Errno;

use crate::container::{Scene, apply, contained, enter_bind, forked, mounts, path, unshare};

/// Long enough for hundreds of starts on an idle machine, short enough for a test.
const RACE: Duration = Duration::from_secs(3);

/// Puts something at `name` in the root.
type Place = for<'a> fn(&'a Scene, &str) -> &'a Scene;

fn kernel_mounts(tree: &mut TreeBuilder) -> Result<(), rootfs::Error> {
    tree.proc(&Proc::default())?;
    tree.sysfs()?;
    tree.dev()?;
    tree.devpts(&Pts::default())?;
    tree.mask(&["/proc/keys"]).map(drop)
}

#[test]
fn proc_sys_and_dev_of_an_image_must_be_real_directories() {
    let cases: [(&str, Place, Errno, &str); 7] = [
        (
            "an absolute link",
            |s, n| s.link(n, s.canary()),
            Errno::LOOP,
            "symbolic link",
        ),
        (
            "a climbing link",
            |s, n| s.link(n, "../canary"),
            Errno::LOOP,
            "symbolic link",
        ),
        (
            "a link inside",
            |s, n| s.mkdir("real").link(n, "real"),
            Errno::LOOP,
            "symbolic link",
        ),
        (
            "a circle",
            |s, n| s.link(n, n),
            Errno::LOOP,
            "symbolic link",
        ),
        (
            "a dangling link",
            |s, n| s.link(n, "/canary/new"),
            Errno::LOOP,
            "symbolic link",
        ),
        (
            "a file",
            |s, n| s.write(n, ""),
            Errno::NOTDIR,
            "not a directory",
        ),
        ("a FIFO", |s, n| s.fifo(n), Errno::NOTDIR, "not a directory"),
    ];
    for name in ["proc", "sys", "dev"] {
        for (what, place, expected, words) in cases {
            let scene = Scene::new();
            place(&scene, name);
            contained(|| {
                let failed = enter_bind(&scene.root(), kernel_mounts).expect_err(what);
                assert_eq!(failed.errno, expected, "{what} at /{name}: {failed:?}");
                assert!(failed.step.contains(&format!("\"{name}\"")), "{failed:?}");
                assert!(
                    failed.hint.is_some_and(|hint| hint.contains(words)),
                    "{failed:?}"
                );
            });
            scene.assert_canary_alive();
        }
    }
    // The benign twin: directories with something in them, which is covered.
    let scene = Scene::new();
    scene
        .mkdir("proc/self")
        .mkdir("sys/kernel")
        .mkdir("dev/pts")
        .write("dev/null", "not null");
    contained(|| {
        enter_bind(&scene.root(), kernel_mounts).expect("all steps");
        assert_eq!(std::fs::read("/dev/null").expect("null"), b"");
    });
    assert_eq!(
        std::fs::read(scene.root().join("dev/null")).expect("null"),
        b"not null"
    );
}

#[test]
fn a_mount_target_never_leads_out() {
    // What is placed, and what comes of a directory mounted at /a/t.
    let cases: [(&str, Place, Result<&str, Errno>); 8] = [
        ("an absolute link", |s, n| s.link(n, s.canary()), Ok("")),
        (
            "a climbing link",
            |s, n| s.link(n, "../../../../canary"),
            Ok("/canary"),
        ),
        (
            "a link to the root's parent",
            |s, n| s.link(n, "/.."),
            Err(Errno::BUSY),
        ),
        ("a circle", |s, n| s.link(n, "t"), Err(Errno::LOOP)),
        ("a dangling link", |s, n| s.link(n, "/x/y/../z"), Ok("/x/z")),
        ("a file", |s, n| s.write(n, ""), Err(Errno::NOTDIR)),
        ("a FIFO", |s, n| s.fifo(n), Err(Errno::NOTDIR)),
        (
            "a link inside",
            |s, n| s.mkdir("run").link(n, "../run"),
            Ok("/run"),
        ),
    ];
    for (what, place, expected) in cases {
        let scene = Scene::new();
        scene.mkdir("a");
        place(&scene, "a/t");
        let canary = scene.canary();
        contained(|| {
            let built = enter_bind(&scene.root(), |tree| {
                tree.proc(&Proc::default())?;
                tree.tmpfs("/a/t/x".as_ref(), &Tmpfs::default()).map(drop)
            });
            match (built, expected) {
                (Ok(()), Ok(at)) => {
                    // An absolute link is one of the root: its directories are made there.
                    let at = if at.is_empty() {
                        canary.as_path()
                    } else {
                        Path::new(at)
                    };
                    let at = at.join("x");
                    assert!(
                        mounts().contains_key(&at.display().to_string()),
                        "{what}: {:?}",
                        mounts()
                    );
                }
                (Ok(()), Err(Errno::BUSY)) => assert!(mounts().contains_key("/x"), "{what}"),
                (Err(failed), Err(errno)) => {
                    assert_eq!(failed.errno, errno, "{what}: {failed:?}");
                    assert!(failed.hint.is_some(), "{what}: {failed:?}");
                }
                (built, _) => panic!("{what}: {built:?}"),
            }
        });
        scene.assert_canary_alive();
    }
}

#[test]
fn the_engines_files_never_lead_out() {
    for at in ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"] {
        let name = &at[1..];
        let cases: [(&str, Place); 3] = [
            ("an absolute link to a file", |s, n| {
                s.link(n, s.canary().join("file"))
            }),
            ("an absolute link to nothing", |s, n| {
                s.link(n, s.canary().join("new"))
            }),
            ("a climbing link", |s, n| s.link(n, "../../canary/file")),
        ];
        for (what, place) in cases {
            let scene = Scene::new();
            scene.mkdir("etc");
            place(&scene, name);
            contained(|| {
                enter_bind(&scene.root(), |tree| {
                    tree.file(at.as_ref(), b"ours\n").map(drop)
                })
                .expect(what);
                assert_eq!(std::fs::read_to_string(at).expect(at), "ours\n");
            });
            scene.assert_canary_alive();
        }
        let scene = Scene::new();
        scene.mkdir("etc").mkdir(name);
        contained(|| {
            let failed = enter_bind(&scene.root(), |tree| {
                tree.file(at.as_ref(), b"ours\n").map(drop)
            });
            assert_eq!(failed.expect_err("a directory").errno, Errno::ISDIR);
        });
    }
}

#[test]
fn the_links_images_have_keep_working() {
    let scene = Scene::new();
    scene
        .mkdir("etc")
        .mkdir("run/lock")
        .mkdir("var")
        .mkdir("usr/bin")
        .link("var/run", "/run")
        .link("var/lock", "../run/lock")
        .link("bin", "usr/bin")
        // systemd-resolved's, dangling in every image.
        .link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        .link("etc/mtab", "/proc/self/mounts");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.file("/etc/resolv.conf".as_ref(), b"nameserver 192.0.2.1\n")?;
            tree.tmpfs("/var/run/app".as_ref(), &Tmpfs::default())?;
            tree.tmpfs("/var/lock".as_ref(), &Tmpfs::default())?;
            tree.tmpfs("/bin/extra".as_ref(), &Tmpfs::default())
                .map(drop)
        })
        .expect("all steps");
        let mounts = mounts();
        for at in [
            "/run/app",
            "/run/lock",
            "/usr/bin/extra",
            "/run/systemd/resolve/stub-resolv.conf",
        ] {
            assert!(mounts.contains_key(at), "{at} in {mounts:?}");
        }
        assert!(
            std::fs::read_to_string("/etc/mtab")
                .expect("mtab")
                .contains("/run/app")
        );
    });
}

#[test]
fn a_path_too_long_or_through_too_many_links_ends() {
    let scene = Scene::new();
    // Forty-one links in a row, the last of them dangling; and one that doubles itself.
    for n in 0..41 {
        scene.link(&format!("l{n}"), format!("l{}", n + 1));
    }
    scene.link("grow", "grow/grow/grow/grow/x");
    for (at, expected) in [
        ("/l0", Errno::LOOP),
        ("/grow", Errno::LOOP),
        // Sixteen: a walk that the kernel begins anew, without RCU, goes on counting (do_filp_open in
        // fs/namei.c), so anything above twenty may be too many on a busy machine.
        ("/l25/new", Errno::NOENT),
    ] {
        contained(|| {
            let built = enter_bind(&scene.root(), |tree| {
                tree.tmpfs(at.as_ref(), &Tmpfs::default()).map(drop)
            });
            match built {
                // Short enough: followed to where it dangles, and made there.
                Ok(()) => assert_eq!(expected, Errno::NOENT, "{at}"),
                Err(failed) => assert_eq!(failed.errno, expected, "{at}: {failed:?}"),
            }
        });
    }
    scene.assert_canary_alive();
}

#[test]
fn mount_targets_that_are_swapped_for_links_never_lead_out() {
    let scene = Scene::new();
    scene.mkdir("a/t");
    scene.link("a/swap", scene.canary());
    let source = scene.beside("source");
    let exchange = || {
        let (from, to) = (scene.root().join("a/t"), scene.root().join("a/swap"));
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, &from, cwd, &to, rustix::fs::RenameFlags::EXCHANGE)
            .expect("exchange");
    };
    // SAFETY: the child has one thread and ends by a signal or in _exit.
    let attacker = unsafe { libc::fork() };
    if attacker == 0 {
        // Ends by itself should the test be killed.
        let end = Instant::now() + RACE * 20;
        while Instant::now() < end {
            exchange();
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    let mut rounds = 0;
    let end = Instant::now() + RACE;
    while Instant::now() < end {
        contained(|| {
            for _ in 0..20 {
                forked(|| {
                    unshare(libc::CLONE_NEWNS);
                    let built = enter_bind(&scene.root(), |tree| {
                        tree.tmpfs("/a/t/made".as_ref(), &Tmpfs::default())?;
                        tree.file("/a/t/etc/file".as_ref(), b"ours")?;
                        let (source, at) = (path(&source), "/a/t/bound".into());
                        let change = Change::default();
                        tree.bind(&Bind {
                            source,
                            at,
                            recursive: false,
                            change,
                        })?;
                        tree.mask(&["/a/t/file", "/a/t/sub"])?;
                        tree.readonly(&["/a/t"]).map(drop)
                    });
                    // It may fail, for something is always in motion; it must say what.
                    if let Err(failed) = built {
                        let known = [
                            Errno::NOENT,
                            Errno::AGAIN,
                            Errno::EXIST,
                            Errno::NOTDIR,
                            Errno::LOOP,
                        ];
                        assert!(known.contains(&failed.errno), "{failed:?}");
                    }
                });
            }
        });
        rounds += 20;
        scene.assert_canary_alive();
    }
    // SAFETY: our own child, not yet waited for.
    unsafe { libc::kill(attacker, libc::SIGKILL) };
    let mut status = 0;
    // SAFETY: `status` is ours and the kernel writes one int through it.
    unsafe { libc::waitpid(attacker, &raw mut status, 0) };
    assert!(libc::WIFSIGNALED(status), "the attacker swapped to the end");
    assert!(rounds >= 20, "{rounds} starts");
    scene.assert_canary_alive();
}

#[test]
fn nothing_is_executed_or_opened_that_would_block() {
    // A FIFO wherever a careless open(2) would hang.
    let scene = Scene::new();
    scene.mkdir("etc").fifo("etc/hosts").fifo("etc/masked");
    contained(|| {
        let mut tree = TreeBuilder::new(rootfs::Propagation::Private);
        tree.ids(0, 0, false).expect("ids");
        tree.scratch(None).expect("scratch");
        tree.root_bind(&path(&scene.root()), false).expect("root");
        tree.file("/etc/hosts".as_ref(), b"ours").expect("file");
        tree.mask(&["/etc/masked"]).expect("mask");
        tree.readonly(&["/etc/hosts"]).expect("readonly");
        tree.pivot().expect("pivot");
        apply(&tree.build(), &[]).expect("all steps");
        assert_eq!(
            std::fs::read_to_string("/etc/hosts").expect("hosts"),
            "ours"
        );
    });
}
