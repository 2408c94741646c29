//! The working directory, and reading a root from outside.

use std::path::Path;

use rootfs::{Proc, TreeBuilder};
use rustix::io::Errno;

use crate::container::{Failed, Scene, apply, contained, enter_bind, path};

fn enter_at(root: &Path, workdir: &str, create: bool) -> Result<(), Failed> {
    let mut tree = TreeBuilder::new(rootfs::Propagation::Private);
    tree.ids(0, 0, false).expect("ids");
    tree.root_bind(&path(root), false).expect("root");
    tree.proc(&Proc::default()).expect("proc");
    tree.pivot().expect("pivot");
    tree.workdir(workdir.as_ref(), create).expect("workdir");
    apply(&tree.build(), &[])
}

#[test]
fn no_magic_link_leads_the_working_directory_out() {
    let scene = Scene::new();
    scene
        .link("way", "/proc/self/fd/5")
        .link("cwd", "/proc/1/cwd")
        .link("root", "/proc/self/root");
    contained(|| {
        // Something of the host stays open, as CVE-2024-21626 had it.
        let _host = std::fs::File::open("/").expect("a descriptor");
        let links = (0..64).map(|fd| format!("/proc/self/fd/{fd}"));
        for workdir in links.chain(["/way".to_owned()]) {
            crate::container::forked(|| {
                let failed = contained_at(&scene, &workdir);
                assert!(
                    matches!(failed.errno, Errno::LOOP | Errno::NOENT),
                    "{workdir}: {failed:?}"
                );
            });
        }
        for workdir in ["/cwd", "/root", "/proc/self/cwd", "/proc/self/root/etc"] {
            crate::container::forked(|| {
                let failed = contained_at(&scene, workdir);
                assert_eq!(failed.errno, Errno::LOOP, "{workdir}");
                assert!(failed.hint.is_some());
            });
        }
    });
}

/// In a mount namespace of its own, so that one child can try many.
fn contained_at(scene: &Scene, workdir: &str) -> Failed {
    crate::container::unshare(libc::CLONE_NEWNS);
    enter_at(&scene.root(), workdir, false).expect_err(workdir)
}

#[test]
fn a_working_directory_is_found_through_links_of_the_image() {
    let scene = Scene::new();
    scene
        .mkdir("srv/app")
        .link("app", "/srv/app")
        .link("up", "../../../srv");
    for (workdir, expected) in [
        ("/srv/app", "/srv/app"),
        ("/app", "/srv/app"),
        ("/up/app", "/srv/app"),
        ("/", "/"),
    ] {
        contained(|| {
            enter_at(&scene.root(), workdir, false).expect(workdir);
            assert_eq!(
                std::env::current_dir().expect("getcwd"),
                Path::new(expected),
                "{workdir}"
            );
        });
    }
}

#[test]
fn a_missing_working_directory_is_made_only_when_wanted() {
    let scene = Scene::new();
    contained(|| {
        let failed = enter_at(&scene.root(), "/srv/app", false).expect_err("missing");
        assert_eq!(failed.errno, Errno::NOENT);
    });
    scene.link("srv", "/../../data");
    contained(|| {
        enter_at(&scene.root(), "/srv/app", true).expect("made");
        assert_eq!(
            std::env::current_dir().expect("getcwd"),
            Path::new("/data/app")
        );
    });
    scene.assert_canary_alive();
}

#[test]
fn a_file_as_working_directory_is_refused() {
    let scene = Scene::new();
    scene.write("file", "");
    for create in [false, true] {
        contained(|| {
            let failed = enter_at(&scene.root(), "/file", create).expect_err("a file");
            assert_eq!(failed.errno, Errno::NOTDIR);
        });
    }
}

#[test]
fn a_container_that_runs_can_be_entered_at_a_directory() {
    let scene = Scene::new();
    scene.mkdir("srv");
    contained(|| {
        enter_bind(&scene.root(), |tree| tree.proc(&Proc::default()).map(drop)).expect("all steps");
        for (workdir, expected) in [("/srv", Ok(())), ("/proc/self/cwd", Err(Errno::LOOP))] {
            let mut tree = TreeBuilder::entered();
            tree.workdir(workdir.as_ref(), false).expect("workdir");
            assert_eq!(
                apply(&tree.build(), &[]).map_err(|failed| failed.errno),
                expected
            );
        }
        assert_eq!(std::env::current_dir().expect("getcwd"), Path::new("/srv"));
    });
}
