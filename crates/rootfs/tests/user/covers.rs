//! Masks, read-only parts, files, empty directories.

use std::path::Path;

use rootfs::{Proc, Pts, Tmpfs};
use rustix::io::Errno;

use crate::container::{Scene, contained, enter_bind, errno, mounts};

#[test]
fn a_masked_path_is_empty_and_stays_so() {
    let scene = Scene::new();
    // What an image may put where an engine would look for its own /dev/null (CVE-2025-31133).
    scene
        .mkdir("dev")
        .mkdir("secret/dir")
        .write("secret/file", "secret")
        .fifo("secret/fifo");
    scene.link("secret/link", "/secret/file");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.sysfs()?;
            tree.mask(&[
                "/proc/keys",
                "/proc/sys/kernel/core_pattern",
                "/sys/kernel",
                "/secret/dir",
            ])?;
            tree.mask(&[
                "/secret/link",
                "/secret/fifo",
                "/secret/none",
                "/secret/file/none",
            ])
            .map(drop)
        })
        .expect("all steps");
        for file in [
            "/proc/keys",
            "/proc/sys/kernel/core_pattern",
            "/secret/file",
            "/secret/fifo",
        ] {
            assert_eq!(std::fs::read(file).expect(file), b"", "{file}");
            assert_eq!(
                errno(std::fs::File::options().append(true).open(file)),
                Some(Errno::ROFS)
            );
        }
        for dir in ["/sys/kernel", "/secret/dir"] {
            assert_eq!(std::fs::read_dir(dir).expect(dir).count(), 0, "{dir}");
            assert_eq!(
                errno(std::fs::write(format!("{dir}/x"), "")),
                Some(Errno::ROFS),
                "{dir}"
            );
        }
        assert_eq!(errno(std::fs::metadata("/secret/none")), Some(Errno::NOENT));
        assert!(mounts()["/proc/keys"].starts_with("ro,nosuid,nodev,noexec"));
    });
    assert_eq!(
        std::fs::read_to_string(scene.root().join("secret/file")).expect("file"),
        "secret"
    );
}

#[test]
fn a_read_only_path_is_so_with_what_is_mounted_below() {
    let scene = Scene::new();
    scene.mkdir("data/plain");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.proc(&Proc::default())?;
            tree.tmpfs("/data/below".as_ref(), &Tmpfs::default())?;
            tree.tmpfs("/data/below/deep".as_ref(), &Tmpfs::default())?;
            tree.readonly(&["/data", "/missing"])?;
            tree.readonly_leaf(&["/proc/sys", "/proc/missing"])
                .map(drop)
        })
        .expect("all steps");
        for path in [
            "/data/x",
            "/data/plain/x",
            "/data/below/x",
            "/data/below/deep/x",
        ] {
            assert_eq!(errno(std::fs::write(path, "")), Some(Errno::ROFS), "{path}");
        }
        let value = std::fs::write("/proc/sys/kernel/hostname", "x");
        assert_eq!(errno(value), Some(Errno::ROFS));
        std::fs::write("/x", "").expect("the rest stays writable");
        std::fs::write("/proc/self/comm", "x").expect("the rest of /proc too");
    });
}

#[test]
fn a_read_only_leaf_does_not_show_what_it_covers() {
    let scene = Scene::new();
    scene.mkdir("data/below");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.tmpfs("/data/below".as_ref(), &Tmpfs::default())?;
            tree.readonly_leaf(&["/data"]).map(drop)
        })
        .expect("all steps");
        assert_eq!(
            errno(std::fs::write("/data/below/x", "")),
            Some(Errno::ROFS)
        );
    });
}

#[test]
fn files_are_shown_with_their_bytes_and_read_only() {
    let scene = Scene::new();
    scene.mkdir("etc").write("etc/hosts", "old");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.file("/etc/hosts".as_ref(), b"127.0.0.1 localhost\n")?;
            tree.file("/etc/hostname".as_ref(), b"web\n")?;
            tree.file("/run/empty".as_ref(), b"").map(drop)
        })
        .expect("all steps");
        for (path, text) in [
            ("/etc/hosts", "127.0.0.1 localhost\n"),
            ("/etc/hostname", "web\n"),
            ("/run/empty", ""),
        ] {
            assert_eq!(std::fs::read_to_string(path).expect(path), text);
            assert_eq!(
                errno(std::fs::write(path, "x")),
                Some(Errno::ROFS),
                "{path}"
            );
            assert_eq!(
                errno(std::fs::remove_file(path)),
                Some(Errno::BUSY),
                "{path}"
            );
        }
    });
    assert_eq!(
        std::fs::read_to_string(scene.root().join("etc/hosts")).expect("hosts"),
        "old"
    );
}

#[test]
fn a_hidden_directory_is_empty_and_writable() {
    let scene = Scene::new();
    scene
        .mkdir("home/user")
        .mkdir("var")
        .link("var/tmp", "../home");
    contained(|| {
        enter_bind(&scene.root(), |tree| {
            tree.hide_dir("/home".as_ref(), 0o755)?;
            tree.hide_dir("/not/there".as_ref(), 0o1777).map(drop)
        })
        .expect("all steps");
        assert_eq!(std::fs::read_dir("/home").expect("home").count(), 0);
        std::fs::write("/home/x", "").expect("writable");
        assert!(Path::new("/var/tmp/x").exists());
        assert!(!Path::new("/not").exists());
    });
    assert!(!scene.root().join("home/x").exists());
}

#[test]
fn a_file_where_a_directory_is_to_be_hidden_is_explained() {
    let scene = Scene::new();
    scene.write("home", "");
    contained(|| {
        let failed = enter_bind(&scene.root(), |tree| {
            tree.hide_dir("/home".as_ref(), 0o755).map(drop)
        });
        assert_eq!(failed.expect_err("a file").errno, Errno::NOTDIR);
    });
}

#[test]
fn what_rests_on_something_missing_is_refused_when_built() {
    use rootfs::{Error, Propagation, Source, TreeBuilder};
    let order = |result: rootfs::Steps, step: &str| {
        assert!(
            matches!(&result, Err(Error::Order { step: found, .. }) if *found == step),
            "{step}: {result:?}"
        );
    };
    let mut tree = TreeBuilder::new(Propagation::Private);
    order(tree.proc(&Proc::default()), "proc");
    tree.root_bind(&Source::Passed(0), false).expect("root");
    order(tree.scratch(None), "scratch");
    order(tree.mask(&["/x"]), "mask");
    order(tree.hide_dir("/x".as_ref(), 0o755), "hide_dir");
    order(tree.devpts(&Pts::default()), "pts");
    order(tree.sysctl("net.core.somaxconn", "1"), "sysctl");
    order(tree.workdir("/".as_ref(), false), "workdir");
    tree.pivot().expect("pivot");
    order(tree.proc(&Proc::default()), "proc");
    tree.workdir("/".as_ref(), false).expect("workdir");
}
