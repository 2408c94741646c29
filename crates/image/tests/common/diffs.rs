//! Layers written from trees, and applied again; overlayfs is the judge of what a stack of them shows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink as make_link};
use std::path::{Path, PathBuf};

use image::layer::{Changes, Difference, Error, Limits, Rule, Written, diff, differences};

use crate::scene::{Fact, Scene, Who, facts, mount_tmpfs, scene, set_xattr, touch};
use crate::tarball::{Head, dir, file, hard, octal, pax, symlink, tar};

fn written(scene: &Scene, upper: &Path) -> (Vec<u8>, Result<Written, Error>) {
    let upper = File::open(upper).expect("the upper directory");
    let mut out = Vec::new();
    let changes = Changes::Upper {
        upper: upper.as_fd(),
        overlay: scene.overlay(),
    };
    let result = diff(changes, &mut out, &Limits::default());
    (out, result)
}

/// Whiteouts have the time at which they were made.
fn without_times_of_whiteouts(root: &Path) -> BTreeMap<PathBuf, Fact> {
    let mut all = facts(root);
    for fact in all.values_mut() {
        if fact.mode & libc::S_IFMT == libc::S_IFCHR {
            fact.mtime = (0, 0);
        }
    }
    all
}

pub(crate) fn round_trip(who: Who) {
    scene(who, |scene| {
        let long = "n".repeat(200);
        let mut parts = vec![
            dir("./"),
            Head::new(b"d", b'5').mode(0o2711).bytes(),
            Head::new(b"d/f", b'0')
                .mode(0o4755)
                .data(&[7; 1500])
                .bytes(),
            hard("a", "d/f"),
            symlink("l", "nowhere"),
            hard("m", "l"),
            Head::new(b"p", b'6').mode(0o600).bytes(),
            pax(&[("path", long.as_bytes()), ("mtime", b"-1.25")]),
            file("x", "long"),
            file(".wh.gone", ""),
            file("d/.wh.gone", ""),
            file("empty", ""),
        ];
        if scene.has_opaque() {
            parts.extend([file("o/.wh..wh..opq", ""), file("o/f", "1")]);
            parts.extend([pax(&[("SCHILY.xattr.user.a", b"b\0c")]), file("o/g", "1")]);
        }
        if who == Who::Root {
            parts.push(Head::new(b"owned", b'0').owner(123, 456).bytes());
            let capability = [&[1, 0, 0, 2, 0, 4][..], &[0; 14]].concat();
            parts.push(pax(&[("SCHILY.xattr.security.capability", &capability)]));
            parts.push(file("capable", "1"));
        }
        let first = scene.good(&tar(&parts));
        let (archive, result) = written(scene, &first);
        let result = result.expect("an honest tree");
        assert_eq!(result.skipped, 0);
        let second = scene.good(&archive);
        assert_eq!(
            without_times_of_whiteouts(&second),
            without_times_of_whiteouts(&first)
        );
        let (again, _) = written(scene, &second);
        assert!(again == archive, "the same tree gives the same bytes");
    });
}

/// Some of everything, changed a little when `after`.
fn grow(root: &Path, after: bool) {
    let write = |name: &str, text: &str| fs::write(root.join(name), text).expect(name);
    for name in ["same/deep", "mode", "gone-dir/sub", "turns/sub", "kept"] {
        fs::create_dir_all(root.join(name)).expect(name);
    }
    write("same/deep/f", "untouched");
    write("same/f", "untouched");
    write("mode/f", "untouched");
    write("kept/changes", "before");
    write("gone", "before");
    write("gone-dir/sub/f", "before");
    write("turns/sub/f", "before");
    write("file-to-dir", "before");
    make_link("before", root.join("link")).expect("link");
    make_link("kept", root.join("link-to-dir")).expect("link");
    write("first", "linked");
    fs::hard_link(root.join("first"), root.join("second")).expect("link");
    if after {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(root.join("mode"), mode).expect("mode");
        write("kept/changes", "after!");
        write("kept/new", "after");
        fs::remove_file(root.join("gone")).expect("gone");
        for name in ["gone-dir", "turns"] {
            fs::remove_dir_all(root.join(name)).expect(name);
        }
        write("turns", "a file now");
        for name in ["file-to-dir", "link", "link-to-dir"] {
            fs::remove_file(root.join(name)).expect(name);
        }
        fs::create_dir(root.join("file-to-dir")).expect("a directory");
        write("file-to-dir/f", "after");
        make_link("after", root.join("link")).expect("link");
        fs::create_dir(root.join("link-to-dir")).expect("a directory");
        fs::hard_link(root.join("first"), root.join("third")).expect("link");
    }
    // All times are alike unless something else is.
    for name in facts(root).keys() {
        touch(&root.join(name), 1_577_836_800, 0);
    }
}

/// What overlayfs keeps: it numbers inodes anew and breaks links between layers.
fn shown(all: BTreeMap<PathBuf, Fact>) -> BTreeMap<PathBuf, Fact> {
    all.into_iter()
        .map(|(path, mut fact)| {
            fact.links = 0;
            fact.same_as = PathBuf::new();
            (path, fact)
        })
        .collect()
}

pub(crate) fn two_trees(who: Who) {
    scene(who, |scene| {
        let (before, after) = (scene.new_layer(), scene.new_layer());
        grow(&before, false);
        grow(&after, true);
        let open = |path: &Path| File::open(path).expect("a tree");
        let (one, other) = (open(&before), open(&after));
        let mut archive = Vec::new();
        let changes = Changes::Trees {
            before: one.as_fd(),
            after: other.as_fd(),
        };
        let result = diff(changes, &mut archive, &Limits::default()).expect("honest trees");
        // gone and gone-dir; the rest is replaced by what has the same name.
        assert_eq!(result.whiteouts, 2);
        let layer = scene.good_on(&[&before], &archive);
        assert!(!layer.join("same").exists());
        assert!(!layer.join("mode/f").exists());
        assert_eq!(facts(&layer)[Path::new("third")].links, 3);
        assert_eq!(
            shown(scene.merged(&[&layer, &before])),
            shown(facts(&after))
        );
        let mut nothing = Vec::new();
        let changes = Changes::Trees {
            before: other.as_fd(),
            after: other.as_fd(),
        };
        let result = diff(changes, &mut nothing, &Limits::default()).expect("honest trees");
        assert_eq!(result, Written::default());
        assert_eq!(nothing, [0; 1024]);
    });
}

/// Changes of every kind in an overlay that is in use, and mounts in it, which are none.
///
/// Removing a directory that a layer has takes an attribute on the upper one, and so a file system with it.
fn use_it(after: &Path, has_opaque: bool) {
    let write = |name: &str, text: &str| fs::write(after.join(name), text).expect(name);
    write("forged", "after!");
    touch(&after.join("forged"), 1_577_836_800, 0);
    // Copied up, and the same as before.
    let mode = |mode| fs::Permissions::from_mode(mode);
    let owner = fs::metadata(after.join("touched"))
        .expect("touched")
        .permissions();
    fs::set_permissions(after.join("touched"), mode(0o600)).expect("mode");
    fs::set_permissions(after.join("touched"), owner).expect("mode");
    fs::set_permissions(after.join("mode"), mode(0o700)).expect("mode");
    fs::remove_file(after.join("gone")).expect("gone");
    fs::remove_file(after.join("gone-dir/f")).expect("gone-dir/f");
    if has_opaque {
        fs::remove_dir(after.join("gone-dir")).expect("gone-dir");
    }
    fs::create_dir(after.join("new")).expect("new");
    write("new/.wh.x", "listed, and no layer");
    write("a.b", "new");
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    let pipe = after.join("new/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, fifo, mode, 0).expect("a pipe");
    // A place that was made for a mount, one that was there, and what is mounted there.
    fs::create_dir(after.join("made")).expect("made");
    for name in ["made", "covered"] {
        mount_tmpfs(&after.join(name));
        write(&format!("{name}/f"), "of the mount");
    }
    write("kept/beside", "new");
}

pub(crate) fn overlays(who: Who) {
    scene(who, |scene| {
        let lower = scene.good(&tar(&[
            dir("./"),
            file("same/f", "untouched"),
            Head::new(b"forged", b'0')
                .data(b"before")
                .with(136, &octal(1_577_836_800, 12))
                .bytes(),
            file("touched", "before"),
            dir("mode"),
            file("gone", "before"),
            file("gone-dir/f", "before"),
            file("covered/below", "before"),
            dir("kept"),
        ]));
        let (before, after) = (scene.in_use(&lower), scene.in_use(&lower));
        let has_opaque = scene.has_opaque();
        use_it(&after, has_opaque);
        let open = |path: &Path| File::open(path).expect("a tree");
        let (one, other) = (open(&before), open(&after));
        let changes = || Changes::Overlays {
            before: one.as_fd(),
            after: other.as_fd(),
        };
        let mut found = Vec::new();
        let mut told = |how, path: &[u8]| {
            found.push((how, String::from_utf8(path.to_vec()).expect("text")));
            Ok(())
        };
        differences(changes(), &Limits::default(), &mut told).expect("an honest tree");
        let gone: &[_] = match has_opaque {
            true => &[(Difference::Deleted, "gone-dir")],
            false => &[
                (Difference::Changed, "gone-dir"),
                (Difference::Deleted, "gone-dir/f"),
            ],
        };
        let expected = [
            (Difference::Added, "a.b"),
            (Difference::Changed, "forged"),
            (Difference::Deleted, "gone"),
        ];
        let expected = expected.iter().chain(gone).chain(&[
            (Difference::Changed, "kept"),
            (Difference::Added, "kept/beside"),
            (Difference::Changed, "mode"),
            (Difference::Added, "new"),
            (Difference::Added, "new/.wh.x"),
            (Difference::Added, "new/pipe"),
        ]);
        let expected = expected.map(|&(how, path)| (how, path.to_owned()));
        assert_eq!(found, expected.collect::<Vec<_>>());
        let mut archive = Vec::new();
        let result = diff(changes(), &mut archive, &Limits::default());
        let rule = Rule::WhiteoutName;
        assert!(matches!(result, Err(Error::Refused { rule: r, .. }) if r == rule));
        fs::remove_file(after.join("new/.wh.x")).expect("removable");
        archive.clear();
        diff(changes(), &mut archive, &Limits::default()).expect("an honest tree");
        let layer = scene.good_on(&[&lower], &archive);
        let merged = scene.merged(&[&layer, &lower]);
        assert_eq!(merged[Path::new("forged")].content, b"after!");
        assert!(merged.contains_key(Path::new("covered/below")));
        for absent in ["made", "covered/f", "gone", "gone-dir/f"] {
            assert!(!merged.contains_key(Path::new(absent)), "{absent}");
        }
        assert_eq!(merged.contains_key(Path::new("gone-dir")), !has_opaque);
        assert!(!layer.join("touched").exists());
    });
}

pub(crate) fn refused(who: Who) {
    scene(who, |scene| {
        let rule = |upper: &Path| match written(scene, upper).1 {
            Err(Error::Refused { rule, .. }) => rule,
            other => panic!("{other:?}"),
        };
        let upper = scene.new_layer();
        fs::write(upper.join(".wh.x"), "").expect("a file");
        assert_eq!(rule(&upper), Rule::WhiteoutName);
        let upper = scene.new_layer();
        let _socket = std::os::unix::net::UnixListener::bind(upper.join("s")).expect("a socket");
        let (_, result) = written(scene, &upper);
        assert_eq!(
            result.map(|written| (written.entries, written.skipped)),
            Ok((1, 1))
        );
        if scene.has_opaque() {
            let upper = scene.new_layer();
            fs::create_dir(upper.join("d")).expect("a directory");
            let redirect = scene.overlay().opaque().replace("opaque", "redirect");
            set_xattr(&upper.join("d"), &redirect, b"/e").expect("an attribute");
            assert_eq!(rule(&upper), Rule::OverlayReference);
        }
    });
}

/// T14, T15, T17, T19 as the kernel sees them.
pub(crate) fn stacked(who: Who) {
    scene(who, |scene| {
        let base = scene.good(&tar(&[
            dir("./"),
            file("was-dir/f", "below"),
            symlink("was-link", "was-dir"),
            file("was-file", "below"),
            Head::new(b"was-pipe", b'6').bytes(),
            file("gone/f", "below"),
            file("emptied/f", "below"),
            file("merged/f", "below"),
        ]));
        let mut parts = vec![
            dir("./"),
            symlink("was-dir", "merged"),
            dir("was-link"),
            file("was-link/new", "above"),
            dir("was-file"),
            file("was-pipe", "above"),
            file(".wh.gone", ""),
            file("merged/g", "above"),
        ];
        if scene.has_opaque() {
            parts.push(file("emptied/g", "above"));
            parts.push(file("emptied/.wh..wh..opq", ""));
        }
        let layer = scene.good_on(&[&base], &tar(&parts));
        let all = scene.merged(&[&layer, &base]);
        let mut names: Vec<_> = all
            .keys()
            .map(|path| path.to_str().expect("text"))
            .collect();
        names.retain(|name| scene.has_opaque() || !name.starts_with("emptied"));
        let mut expected = vec![
            "",
            "merged",
            "merged/f",
            "merged/g",
            "was-dir",
            "was-file",
            "was-link",
            "was-link/new",
            "was-pipe",
        ];
        if scene.has_opaque() {
            expected.splice(1..1, ["emptied", "emptied/g"]);
        }
        assert_eq!(names, expected);
        assert_eq!(all[Path::new("was-pipe")].content, b"above");
    });
}
