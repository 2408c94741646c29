//! Archives that try to lead the engine out of a layer, taken in by `ctr image import`, each beside one that is like it
//! and means well.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use e2e::{Case, Library, Who, case};

use super::image::{all_goes, names};
use crate::tarball::{Head, dir, file, hard, symlink, tar};

const IMAGE: &str = "taken-in:1";

/// Of an archive.
type Parts = Vec<Vec<u8>>;

/// What no archive may touch: anybody may write to it.
struct Canary(PathBuf);

impl Canary {
    fn new(case: &Case) -> Self {
        let path = case.mkdir("canary");
        fs::write(path.join("file"), "alive").expect("write");
        for (path, mode) in [(path.clone(), 0o777), (path.join("file"), 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("text")
    }

    #[track_caller]
    fn lives(&self, what: &str) {
        let entries = fs::read_dir(&self.0).expect("read");
        let entries: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(entries, ["file"], "{what}");
        let file = self.0.join("file");
        assert_eq!(fs::read(&file).expect("read"), b"alive", "{what}");
        let mode = |path: &Path| fs::symlink_metadata(path).expect("stat").mode() & 0o7777;
        assert_eq!((mode(&self.0), mode(&file)), (0o777, 0o666), "{what}");
    }
}

/// Imports an archive; `why` is what it is refused with.
fn import(library: &Library<'_>, case: &Case, parts: &[Vec<u8>], why: Option<&str>) {
    let path = case.dir().join("archive.tar");
    fs::write(&path, tar(parts)).expect("write");
    case.give(&path);
    let path = path.to_str().expect("text");
    let imported = library.image(&["import", IMAGE, "-i", path]);
    let Some(why) = why else {
        imported.ok();
        return all_goes(library, &[IMAGE]);
    };
    imported.expect(125).says(why);
    for place in ["images", "layers", "ingest"] {
        let left = names(library, place);
        assert!(left.is_empty(), "{why}: {left:?}");
    }
    all_goes(library, &[]);
}

fn what_leads_out_is_refused(who: Who) {
    case(who, |case| {
        let (library, canary) = (Library::new(case), Canary::new(case));
        let victim = format!("{}/file", canary.text());
        let up = format!("{}{victim}", "../".repeat(20));
        let rows: [(&str, Parts, Parts); 7] = [
            (
                "contains `..`",
                vec![file(&up, "out")],
                vec![file("...", "in")],
            ),
            (
                "a hard link to a file that the layer does not have",
                vec![hard("a", &victim)],
                vec![file("b", "in"), hard("a", "b")],
            ),
            (
                "its link target contains `..`",
                vec![symlink("b", &victim), hard("a", "b/../file")],
                vec![dir("b"), file("b/file", "in"), hard("a", "b/file")],
            ),
            (
                "the root of a layer is a directory",
                vec![
                    Head::new(b"./", b'2')
                        .link(canary.text().as_bytes())
                        .bytes(),
                ],
                vec![dir("./")],
            ),
            (
                "a loop of symbolic links",
                vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "")],
                vec![
                    dir("c"),
                    symlink("b", "c"),
                    symlink("a", "b"),
                    file("a/x", ""),
                ],
            ),
            (
                "a whiteout names no file",
                vec![file(".wh.", "")],
                vec![file(".wh.gone", "")],
            ),
            (
                "0:0",
                vec![Head::new(b"a", b'3').device(0, 0).bytes()],
                vec![Head::new(b"a", b'6').bytes()],
            ),
        ];
        for (why, hostile, benign) in rows {
            import(&library, case, &hostile, Some(why));
            canary.lives(why);
            import(&library, case, &benign, None);
            canary.lives(why);
        }
    });
}

fn what_looks_like_leading_out_stays_inside(who: Who) {
    case(who, |case| {
        let (library, canary) = (Library::new(case), Canary::new(case));
        let at = canary.text();
        let up = format!("{}{at}", "../".repeat(20));
        let rows = [
            ("file", vec![symlink("a", at), file("a/file", "in")]),
            ("new file", vec![symlink("a", &up), file("a/new", "in")]),
            ("whiteout", vec![symlink("a", at), file("a/.wh.file", "")]),
            ("opaque", vec![symlink("a", at), file("a/.wh..wh..opq", "")]),
            (
                "mode",
                vec![symlink("a", at), Head::new(b"a", b'5').mode(0o000).bytes()],
            ),
            (
                "link in its place",
                vec![dir("d"), symlink("d", at), file("d/file", "in")],
            ),
        ];
        for (what, parts) in rows {
            import(&library, case, &parts, None);
            canary.lives(what);
        }
    });
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn root_refuses_what_leads_out_of_a_layer() {
    what_leads_out_is_refused(Who::Root);
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn a_user_refuses_what_leads_out_of_a_layer() {
    what_leads_out_is_refused(Who::User);
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn what_root_unpacks_stays_inside_of_the_layer() {
    what_looks_like_leading_out_stays_inside(Who::Root);
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn what_a_user_unpacks_stays_inside_of_the_layer() {
    what_looks_like_leading_out_stays_inside(Who::User);
}
