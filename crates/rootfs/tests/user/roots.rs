//! Where `/` comes from, and binds.

use std::path::Path;

use rootfs::{
    Bind, Change, MountAttrs, Overlay, Proc, Propagation, Source, Tmpfs, TreeBuilder, Upper,
    host_entries,
};
use rustix::io::Errno;

use crate::container::{Scene, contained, enter, enter_bind, errno, mounts, path};

fn overlay(lowers: &[&Path], upper: Upper) -> Overlay {
    Overlay {
        lowers: lowers.iter().map(|p| path(p)).collect(),
        upper,
        userxattr: true,
    }
}

#[test]
fn an_ephemeral_overlay_leaves_its_layers_alone() {
    let scene = Scene::new();
    let (top, base) = (scene.beside("top"), scene.beside("base"));
    std::fs::write(top.join("both"), "top").expect("a file");
    std::fs::write(base.join("both"), "base").expect("a file");
    std::fs::write(base.join("deep"), "base").expect("a file");
    let lowers = overlay(&[&top, &base], Upper::Ephemeral);
    contained(|| {
        enter(|tree| {
            tree.root_overlay(&lowers)?;
            tree.proc(&Proc::default()).map(drop)
        })
        .expect("all steps");
        assert_eq!(std::fs::read_to_string("/both").expect("both"), "top");
        std::fs::write("/both", "changed").expect("copied up");
        std::fs::remove_file("/deep").expect("whited out");
        std::fs::write("/new", "").expect("a new file");
        assert_eq!(errno(std::fs::metadata("/deep")), Some(Errno::NOENT));
        // Nothing of scratch shows.
        assert_eq!(mounts().keys().collect::<Vec<_>>(), ["/", "/proc"]);
    });
    assert_eq!(
        std::fs::read_to_string(top.join("both")).expect("both"),
        "top"
    );
    assert_eq!(
        std::fs::read_to_string(base.join("deep")).expect("deep"),
        "base"
    );
    let names = |dir: &Path| std::fs::read_dir(dir).expect("readdir").count();
    assert_eq!((names(&top), names(&base)), (1, 2));
}

#[test]
fn an_upper_directory_on_disk_keeps_what_is_written() {
    let scene = Scene::new();
    let (base, disk) = (scene.beside("base"), scene.beside("disk"));
    scene.beside("disk/upper");
    scene.beside("disk/work");
    let lowers = overlay(&[&base], Upper::Directory(path(&disk)));
    for expected in [None, Some("kept")] {
        contained(|| {
            enter(|tree| tree.root_overlay(&lowers).map(drop)).expect("all steps");
            assert_eq!(std::fs::read_to_string("/data").ok().as_deref(), expected);
            std::fs::write("/data", "kept").expect("a file");
        });
    }
    assert_eq!(
        std::fs::read_to_string(disk.join("upper/data")).expect("data"),
        "kept"
    );
    // overlayfs made it with mode 0: an ordinary user could not remove the scene.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(disk.join("work/work"), mode).expect("chmod");
}

#[test]
fn layers_the_kernel_finds_to_overlap_are_explained() {
    let scene = Scene::new();
    let base = scene.beside("base");
    scene.beside("base/inner");
    let alias = scene.root().join("alias");
    std::os::unix::fs::symlink(&base, &alias).expect("a link");
    // By name they do not overlap.
    let lowers = overlay(&[&base.join("inner"), &alias], Upper::Ephemeral);
    contained(|| {
        let failed = enter(|tree| tree.root_overlay(&lowers).map(drop)).expect_err("overlap");
        assert_eq!(failed.errno, Errno::LOOP);
        assert!(
            failed.step.contains("FSCONFIG_CMD_CREATE"),
            "{}",
            failed.step
        );
        assert!(failed.hint.is_some_and(|hint| hint.contains("overlap")));
    });
}

#[test]
fn an_overlay_takes_128_layers() {
    let scene = Scene::new();
    let dirs: Vec<_> = (0..128)
        .map(|n| scene.beside(&format!("layer{n}")))
        .collect();
    for (n, dir) in dirs.iter().enumerate() {
        std::fs::write(dir.join("last"), n.to_string()).expect("a file");
        std::fs::write(dir.join(format!("own{n}")), "").expect("a file");
    }
    let paths: Vec<&Path> = dirs.iter().map(|dir| dir.as_path()).collect();
    let lowers = overlay(&paths, Upper::Ephemeral);
    contained(|| {
        enter(|tree| tree.root_overlay(&lowers).map(drop)).expect("all steps");
        assert_eq!(
            std::fs::read_to_string("/last").expect("last"),
            "0",
            "topmost first"
        );
        assert!((0..128).all(|n| Path::new(&format!("/own{n}")).exists()));
    });
}

#[test]
fn an_overlay_over_the_hosts_root_is_explained_to_an_ordinary_user() {
    let lowers = overlay(&[Path::new("/")], Upper::Ephemeral);
    contained(|| {
        let failed = enter(|tree| tree.root_overlay(&lowers).map(drop)).expect_err("locked mounts");
        assert_eq!(failed.errno, Errno::INVAL);
        assert!(
            failed.hint.is_some_and(|hint| hint.contains("recursively")),
            "{failed:?}"
        );
    });
}

#[test]
fn the_hosts_own_programs_can_be_bound_read_only() {
    let skip = [
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "home",
        "root",
        "mnt",
        "media",
        "lost+found",
    ];
    let entries = host_entries(&skip).expect("the host's /");
    assert!(entries.iter().any(|entry| entry.name.as_c_str() == c"usr"));
    contained(|| {
        enter(|tree| {
            tree.root_host_binds(&entries)?;
            tree.directory("/tmp".as_ref(), 0o1777)?;
            tree.directory("/a/b".as_ref(), 0o700)?;
            tree.proc(&Proc::default()).map(drop)
        })
        .expect("all steps");
        for entry in &entries {
            let path = Path::new("/").join(entry.name.to_str().expect("a plain name"));
            assert!(path.symlink_metadata().is_ok(), "{path:?}");
        }
        assert!(
            skip.iter()
                .filter(|name| !["proc", "tmp"].contains(name))
                .all(|name| { !Path::new("/").join(name).exists() })
        );
        for (at, options) in mounts().iter().filter(|(at, _)| at.starts_with("/usr")) {
            assert!(options.starts_with("ro"), "{at} {options}");
        }
        assert_eq!(errno(std::fs::write("/usr/x", "")), Some(Errno::ROFS));
        std::fs::write("/tmp/x", "").expect("the root is a tmpfs of our own");
    });
}

#[test]
fn a_bind_is_made_as_a_file_or_a_directory_as_its_source_is() {
    let scene = Scene::new();
    let source = scene.beside("source");
    std::fs::write(source.join("file"), "bound").expect("a file");
    let bind = |source: &Path, at: &str, attrs| Bind {
        source: path(source),
        at: at.into(),
        recursive: false,
        change: Change::set(attrs),
    };
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.bind(&bind(&source, "/a/b/dir", MountAttrs::empty()))?;
            let all =
                MountAttrs::RDONLY | MountAttrs::NOSUID | MountAttrs::NODEV | MountAttrs::NOEXEC;
            tree.bind(&bind(&source.join("file"), "/a/b/file", all))
                .map(drop)
        })
        .expect("all steps");
        assert_eq!(std::fs::read_to_string("/a/b/file").expect("file"), "bound");
        assert_eq!(
            std::fs::read_to_string("/a/b/dir/file").expect("file"),
            "bound"
        );
        std::fs::write("/a/b/dir/new", "").expect("writable");
        assert_eq!(errno(std::fs::write("/a/b/file", "")), Some(Errno::ROFS));
        assert!(mounts()["/a/b/file"].starts_with("ro,nosuid,nodev,noexec"));
    });
    assert!(source.join("new").exists());
    for (from, at, expected) in [
        (source.join("file"), "/a", Errno::ISDIR),
        (source.clone(), "/plain", Errno::NOTDIR),
    ] {
        scene.write("plain", "");
        contained(|| {
            let failed = enter_bind(&scene.root(), |tree| {
                tree.bind(&bind(&from, at, MountAttrs::empty())).map(drop)
            });
            let failed = failed.expect_err("a file meets a directory");
            assert_eq!(failed.errno, expected);
            assert!(failed.hint.is_some());
        });
    }
}

#[test]
fn a_recursive_read_only_bind_has_no_writable_mount_below() {
    let scene = Scene::new();
    let source = scene.beside("source");
    scene.beside("source/below");
    contained(|| {
        // A mount below the source, as the host may have it.
        let mut outer = TreeBuilder::new(Propagation::Private);
        outer.root_bind(&path(Path::new("/")), true).expect("root");
        outer
            .tmpfs(&source.join("below"), &Tmpfs::default())
            .expect("tmpfs");
        let outer = outer.build();
        crate::container::apply(&outer, &[]).expect("all steps");
        // The steps so far laid a copy of the host's tree over `/`; step into it.
        rustix::process::chdir("/..").expect("chdir");
        rustix::process::chroot(".").expect("chroot");
        for recursive in [true, false] {
            contained(|| {
                let bind = Bind {
                    source: path(&source),
                    at: "/data".into(),
                    recursive,
                    change: Change::set(MountAttrs::RDONLY),
                };
                let built = enter_bind(&scene.root(), |tree| tree.bind(&bind).map(drop));
                if recursive {
                    built.expect("all steps");
                    assert_eq!(errno(std::fs::write("/data/x", "")), Some(Errno::ROFS));
                    assert_eq!(
                        errno(std::fs::write("/data/below/x", "")),
                        Some(Errno::ROFS)
                    );
                } else {
                    // The mount below is locked: leaving it behind would show what it hides.
                    let failed = built.expect_err("a locked mount");
                    assert_eq!(failed.errno, Errno::INVAL);
                    assert!(failed.hint.is_some_and(|hint| hint.contains("recursively")));
                }
            });
        }
    });
}

#[test]
fn a_bind_can_be_a_slave_of_the_hosts_mount() {
    let scene = Scene::new();
    let source = scene.beside("source");
    for (propagation, expected) in [(None, false), (Some(Propagation::Shared), true)] {
        contained(|| {
            enter_bind(&scene.root(), |tree| {
                tree.proc(&Proc::default())?;
                let change = Change {
                    propagation,
                    ..Change::default()
                };
                let (source, at) = (path(&source), "/data".into());
                tree.bind(&Bind {
                    source,
                    at,
                    recursive: false,
                    change,
                })
                .map(drop)
            })
            .expect("all steps");
            let line = &mounts()["/data"];
            assert_eq!(line.contains("shared:"), expected, "{line}");
        });
    }
}

#[test]
fn a_read_only_root_keeps_its_writable_mounts() {
    let scene = Scene::new();
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.tmpfs("/tmp".as_ref(), &Tmpfs::default())?;
            tree.read_only_root().map(drop)
        })
        .expect("all steps");
        assert_eq!(errno(std::fs::write("/x", "")), Some(Errno::ROFS));
        std::fs::write("/tmp/x", "").expect("a tmpfs");
    });
}

#[test]
fn links_are_not_followed_through_a_mount_that_says_so() {
    let scene = Scene::new();
    let source = scene.beside("source");
    std::os::unix::fs::symlink("/etc", source.join("link")).expect("a link");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            let change = Change::set(MountAttrs::NOSYMFOLLOW);
            let (source, at) = (path(&source), "/data".into());
            tree.bind(&Bind {
                source,
                at,
                recursive: false,
                change,
            })
            .map(drop)
        })
        .expect("all steps");
        assert_eq!(errno(std::fs::metadata("/data/link")), Some(Errno::LOOP));
    });
}

#[test]
fn a_root_that_cannot_be_written_and_lacks_a_mount_point_is_explained() {
    let scene = Scene::new();
    contained(|| {
        let failed = enter_bind(&scene.root(), |tree| {
            tree.read_only_root()?;
            tree.proc(&Proc::default()).map(drop)
        });
        let failed = failed.expect_err("/proc is missing");
        assert_eq!(failed.errno, Errno::ROFS);
        assert!(
            failed
                .hint
                .is_some_and(|hint| hint.contains("mount point is missing"))
        );
    });
    // The benign twin.
    scene.mkdir("proc");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.read_only_root()?;
            tree.proc(&Proc::default()).map(drop)
        })
        .expect("all steps");
    });
}

#[test]
fn an_id_that_is_not_mapped_is_explained() {
    contained(|| {
        let mut tree = TreeBuilder::new(Propagation::Private);
        tree.ids(1, 1, false).expect("ids");
        let failed = crate::container::apply(&tree.build(), &[]).expect_err("only 0 is mapped");
        assert_eq!(
            (failed.step.as_str(), failed.errno),
            ("setresgid(1, 1, 1)", Errno::INVAL)
        );
        assert!(failed.hint.is_some());
    });
}

#[test]
fn a_descriptor_that_was_not_passed_is_an_error() {
    contained(|| {
        let failed = enter(|tree| tree.root_bind(&Source::Passed(3), false).map(drop));
        assert_eq!(failed.expect_err("nothing is passed").errno, Errno::BADF);
    });
}
