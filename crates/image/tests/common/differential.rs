//! The same archive, unpacked here and by GNU tar: two trees that are alike in everything.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::scene::{Scene, Who, facts, make_fifo, scene, set_xattr, touch};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn tree(scene: &Scene, format: &str) -> String {
    let root = scene.new_layer();
    let gnu_or_posix = !matches!(format, "v7" | "ustar");
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("d/e/f")).expect("directories");
    for (name, mode) in [
        ("plain", 0o644),
        ("d/suid", 0o4755),
        ("d/e/none", 0),
        ("d/e/f/x", 0o1711),
    ] {
        fs::write(at(name), name.repeat(500)).expect(name);
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect(name);
    }
    fs::write(at("empty"), "").expect("empty");
    let name = "n".repeat(90);
    if format != "v7" {
        fs::create_dir_all(at(&format!("{name}/{name}"))).expect("long names");
    }
    if gnu_or_posix {
        let long = format!("{name}/{name}/{name}");
        fs::write(at(&long), "long").expect("long names");
        fs::hard_link(at(&long), at("to-long")).expect("a link");
        symlink(&long, at("sym-long")).expect("a link");
    }
    fs::hard_link(at("plain"), at("d/linked")).expect("a link");
    symlink("d/e", at("sym")).expect("a link");
    symlink("/etc/passwd", at("abs")).expect("a link");
    fs::hard_link(at("sym"), at("zsym")).expect("a link to a link");
    let sparse = fs::File::create(at("sparse")).expect("sparse");
    sparse.set_len(3 << 20).expect("sparse");
    for part in [0u64, 9, 40, 170, 171, 300, 500, 700] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", part << 12).expect("sparse");
    }
    if format != "v7" {
        make_fifo(&at("pipe"), 0o604);
    }
    if scene.who == Who::Root {
        std::os::unix::fs::chown(at("d/e/none"), Some(1234), Some(4321)).expect("chown");
        let capability = [&[1, 0, 0, 2, 0, 4][..], &[0; 14]].concat();
        set_xattr(&at("plain"), "security.capability", &capability).expect("capability");
    }
    if scene.has_xattr("user.probe") {
        set_xattr(&at("plain"), "user.one", b"\0two").expect("an attribute");
        set_xattr(&at("d/e"), "user.three", b"four").expect("an attribute");
    }
    let past = if gnu_or_posix {
        (-2_635_200, 123_456_789)
    } else {
        (60_000_000, 0)
    };
    touch(&at("plain"), past.0, past.1);
    touch(&at("sym"), 981_173_106, 0);
    touch(&at("d/e"), 1_927_771_506, 500_000_000);
    root.to_str().expect("text").to_owned()
}

fn same(scene: &Scene, archive: &Path, xattrs: bool) {
    let archive_text = archive.to_str().expect("text");
    let theirs = scene.new_layer();
    let theirs_text = theirs.to_str().expect("text");
    let mut arguments = vec!["-xpf", archive_text, "-C", theirs_text];
    if xattrs {
        arguments.extend(["--xattrs", "--xattrs-include=*"]);
    }
    run("tar", &arguments);
    let ours = scene.good(&fs::read(archive).expect("the archive"));
    let (theirs, ours) = (facts(&theirs), facts(&ours));
    let names: Vec<_> = theirs.keys().collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), names, "{archive:?}");
    for (name, fact) in &theirs {
        assert_eq!(&ours[name], fact, "{name:?} of {archive:?}");
    }
}

pub(crate) fn all_formats(who: Who) {
    scene(who, |scene| {
        for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
            let root = tree(scene, format);
            let archive = scene.base().join(format!("{format}.tar"));
            let archive_text = archive.to_str().expect("text");
            let format = format!("--format={format}");
            run("tar", &[&format, "-cf", archive_text, "-C", &root, "."]);
            same(scene, &archive, false);
            if format.ends_with("gnu") {
                run(
                    "tar",
                    &[&format, "--sparse", "-cf", archive_text, "-C", &root, "."],
                );
                same(scene, &archive, false);
            }
            if format.ends_with("posix") {
                for version in ["0.0", "0.1", "1.0"] {
                    let version = format!("--sparse-version={version}");
                    let wanted = ["--xattrs", "--xattrs-include=*", "--sparse", &version];
                    let rest = ["-cf", archive_text, "-C", &root, "."];
                    run(
                        "tar",
                        &[&[format.as_str()], &wanted[..], &rest[..]].concat(),
                    );
                    same(scene, &archive, true);
                }
            }
        }
    });
}
