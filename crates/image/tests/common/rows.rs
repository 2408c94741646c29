//! Hostile layers and their honest twins. Each is run by root and by an ordinary user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use image::layer::{Bound, Error, IdRange, Limits, Options, Owners, Rule};

use crate::scene::{Who, facts, is_whiteout, scene, xattrs};
use crate::tarball::{Head, base256, dir, file, hard, long, octal, pax, record, symlink, tar};

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

/// T1 to T4, T38, T39, T48.
pub(crate) fn names(who: Who) {
    scene(who, |scene| {
        let layer = scene.good(&tar(&[file("/etc/passwd", "in")]));
        assert_eq!(text(layer.join("etc/passwd")), "in");
        for name in ["../../x", "a/../../x", "..", "a/..", "/..", "./../x"] {
            scene.bad(&tar(&[file(name, "out")]), Rule::DotDot);
        }
        let layer = scene.good(&tar(&[dir("./"), file("a//b/./c", "1"), file("...", "2")]));
        assert_eq!(text(layer.join("a/b/c")), "1");
        assert_eq!(text(layer.join("...")), "2");
        scene.bad(&tar(&[file("", "x")]), Rule::NameEmpty);
        let path = |length: usize| {
            let name = "d/".repeat(length / 2);
            tar(&[pax(&[("path", name.as_bytes())]), dir("d")])
        };
        scene.good(&path(2000));
        scene.bad(&path(4098), Rule::NameLong);
        let component = |length| {
            let name = vec![b'n'; length];
            tar(&[pax(&[("path", &name)]), file("d", "")])
        };
        scene.good(&component(255));
        scene.bad(&component(256), Rule::ComponentLong);
        let odd = b"a\x1b[31m\n\xff\t ".to_vec();
        let layer = scene.good(&tar(&[Head::new(&odd, b'0').bytes()]));
        assert_eq!(facts(&layer).len(), 2);
        let nul = tar(&[pax(&[("path", b"a\0b")]), file("a", "")]);
        scene.bad(&nul, Rule::NameNul);
        let alike = ["a", "A", "a.", "a ", "\u{430}", ".ctr-tmp", "lock"];
        let parts: Vec<_> = alike.iter().map(|name| file(name, name)).collect();
        let layer = scene.good(&tar(&parts));
        for name in alike {
            assert_eq!(text(layer.join(name)), name);
        }
    });
}

/// T5 to T9, T12, T13.
pub(crate) fn symbolic_links(who: Who) {
    scene(who, |scene| {
        let canary = scene.canary();
        let layer = scene.good(&tar(&[symlink("a", &canary), file("a/victim", "in")]));
        let inside = layer.join(canary.trim_start_matches('/'));
        assert_eq!(text(inside.join("victim")), "in");
        let up = "../".repeat(20) + canary.trim_start_matches('/');
        let layer = scene.good(&tar(&[
            symlink("a", &up),
            dir("a/sub"),
            Head::new(b"a/sub", b'5').mode(0o700).bytes(),
            file("a/sub/file", "in"),
        ]));
        let inside = layer.join(canary.trim_start_matches('/'));
        assert_eq!(text(inside.join("sub/file")), "in");
        let victim = format!("{canary}/victim");
        let layer = scene.good(&tar(&[symlink("a", &victim), file("a", "in")]));
        assert!(fs::symlink_metadata(layer.join("a")).expect("a").is_file());
        if scene.has_opaque() {
            let sub = format!("{canary}/sub");
            let layer = scene.good(&tar(&[
                symlink("a", &sub),
                Head::new(b"a", b'5').mode(0o777).bytes(),
                file("a/file", "in"),
            ]));
            assert_eq!(mode(layer.join("a")), 0o777);
            assert_eq!(text(layer.join("a/file")), "in");
        }
        let layer = scene.good(&tar(&[
            dir("d"),
            file("d/old", ""),
            symlink("d", &canary),
            file("d/victim", "in"),
        ]));
        assert!(
            fs::symlink_metadata(layer.join("d"))
                .expect("d")
                .is_symlink()
        );
        for flag in [b'2', b'0', b'3', b'6'] {
            for name in [&b"./"[..], b"/", b"."] {
                let head = Head::new(name, flag).link(b"/etc").device(1, 3);
                // A name with a slash at its end is a directory's in old archives.
                if flag == b'0' && name.ends_with(b"/") {
                    continue;
                }
                scene.bad(&tar(&[head.bytes()]), Rule::RootType);
            }
        }
        let looped = tar(&[symlink("a", "b"), symlink("b", "a"), file("a/x", "")]);
        scene.bad(&looped, Rule::ParentLoop);
        let chain = |length: usize| {
            let mut parts: Vec<_> = (0..length)
                .map(|at| symlink(&format!("l{at}"), &format!("l{}", at + 1)))
                .collect();
            parts.push(dir(&format!("l{length}")));
            parts.push(file("l0/x", "end"));
            tar(&parts)
        };
        scene.bad(&chain(41), Rule::ParentLoop);
        let layer = scene.good(&chain(20));
        assert_eq!(text(layer.join("l20/x")), "end");
        scene.bad(&tar(&[symlink("a", "")]), Rule::LinkTarget);
    });
}

/// T10.
pub(crate) fn hard_links(who: Who) {
    scene(who, |scene| {
        let canary = scene.canary();
        for target in ["/etc/shadow", "missing", &format!("{canary}/victim")] {
            scene.bad(&tar(&[hard("a", target)]), Rule::LinkMissing);
        }
        scene.bad(&tar(&[hard("a", "../../x")]), Rule::LinkDotDot);
        scene.bad(&tar(&[hard("a", "")]), Rule::LinkTarget);
        scene.bad(&tar(&[file("a", ""), hard("a", "a")]), Rule::LinkSelf);
        scene.bad(&tar(&[hard("a", "a")]), Rule::LinkMissing);
        scene.bad(&tar(&[hard("a", "b"), file("b", "")]), Rule::LinkMissing);
        scene.bad(&tar(&[dir("d"), hard("a", "d")]), Rule::LinkType);
        scene.bad(&tar(&[dir("d"), hard("a", "/")]), Rule::LinkType);
        let hidden = tar(&[file(".wh.w", ""), hard("a", "w")]);
        scene.bad(&hidden, Rule::LinkMissing);
        let layer = scene.good(&tar(&[
            symlink("l", &format!("{canary}/victim")),
            hard("a", "l"),
            file("f", "1"),
            hard("d/g", "./f"),
            file("f", "2"),
        ]));
        assert!(
            fs::symlink_metadata(layer.join("a"))
                .expect("a")
                .is_symlink()
        );
        assert_eq!(text(layer.join("d/g")), "1");
        assert_eq!(text(layer.join("f")), "2");
        let inside = tar(&[
            file("d/f", "1"),
            symlink("s", "/d"),
            hard("g", "s/f"),
            hard("g", "s/f"),
        ]);
        let layer = scene.good(&inside);
        assert_eq!(facts(&layer)[Path::new("g")].links, 2);
        let gone = tar(&[file("d/f", ""), hard("d", "d/f")]);
        scene.bad(&gone, Rule::LinkMissing);
    });
}

/// T11, T14 and what else rests on the layers below.
pub(crate) fn stacked_layers(who: Who) {
    scene(who, |scene| {
        let base = scene.good(&tar(&[
            Head::new(b"tmp", b'5').mode(0o1777).bytes(),
            Head::new(b"d/f", b'0').mode(0o751).data(b"below").bytes(),
            symlink("run", "var/run"),
            dir("var/run"),
            dir("gone"),
            file("gone/f", "below"),
        ]));
        let layer = scene.good_on(&[&base], &tar(&[hard("g", "d/f"), file("g2", "")]));
        assert_eq!(text(layer.join("g")), "below");
        let both = facts(&layer);
        assert_eq!(both[Path::new("g")].links, 2);
        assert_eq!(both[Path::new("g")].mode & 0o7777, 0o751);
        assert_eq!(
            both[Path::new("g")].mtime,
            facts(&base)[Path::new("d/f")].mtime
        );
        assert_eq!(both[Path::new("g")].same_as, Path::new("d/f"));
        let layer = scene.good_on(&[&base], &tar(&[file("tmp/x", ""), file("run/pid", "7")]));
        assert_eq!(mode(layer.join("tmp")), 0o1777);
        assert_eq!(text(layer.join("var/run/pid")), "7");
        assert!(!layer.join("run").exists());
        let middle = scene.good_on(&[&base], &tar(&[file(".wh.gone", "")]));
        let files =
            [fs::File::open(&middle), fs::File::open(&base)].map(|file| file.expect("open"));
        let mut options = scene.options();
        options.lowers = files.iter().map(std::os::fd::AsFd::as_fd).collect();
        let archive = tar(&[hard("g", "gone/f")]);
        let (_, result) = scene.apply_with(&archive, &Limits::default(), &options);
        let rule = result.map_err(|error| match error {
            Error::Refused { rule, .. } => rule,
            other => panic!("{other}"),
        });
        assert_eq!(rule, Err(Rule::LinkMissing));
        // Types may change from entry to entry of one layer as well; the last one stands.
        let layer = scene.good(&tar(&[dir("a"), file("a/f", ""), file("a", "now a file")]));
        assert_eq!(text(layer.join("a")), "now a file");
        scene.bad(&tar(&[file("a", ""), file("a/f", "")]), Rule::ParentType);
        let fifo = Head::new(b"a", b'6').bytes();
        let layer = scene.good(&tar(&[fifo, file("a", "1")]));
        assert_eq!(text(layer.join("a")), "1");
        if !scene.has_opaque() {
            return;
        }
        let opaque = scene.overlay().opaque().as_bytes().to_vec();
        for before in [file("a", ""), symlink("a", "/etc"), file(".wh.a", "")] {
            let layer = scene.good(&tar(&[before, dir("a"), file("a/f", "")]));
            assert_eq!(xattrs(&layer.join("a")), [(opaque.clone(), b"y".to_vec())]);
        }
        let layer = scene.good(&tar(&[file(".wh.a", ""), file("a/b/f", "")]));
        assert_eq!(xattrs(&layer.join("a")), [(opaque.clone(), b"y".to_vec())]);
        assert_eq!(xattrs(&layer.join("a/b")), []);
    });
}

/// T15 to T21.
pub(crate) fn whiteouts(who: Who) {
    scene(who, |scene| {
        let layer = scene.good(&tar(&[
            dir("d"),
            file("d/.wh.x", ""),
            file(".wh.missing", ""),
        ]));
        assert!(is_whiteout(&layer.join("d/x")));
        assert!(is_whiteout(&layer.join("missing")));
        for name in [".wh..", ".wh...", ".wh.", "d/.wh."] {
            scene.bad(&tar(&[file(name, "")]), Rule::Whiteout);
        }
        for name in [".wh.a/b", "a/.wh.../x", "a/.wh.b/.wh.c"] {
            scene.bad(&tar(&[file(name, "")]), Rule::WhiteoutParent);
        }
        // A directory that only a link's target names is made, and its name is no whiteout either.
        for target in [".wh.a", "b/.wh.c/d"] {
            let parts = [symlink("l", target), file("l/f", "")];
            scene.bad(&tar(&parts), Rule::WhiteoutParent);
        }
        let layer = scene.good(&tar(&[
            file(".wh..wh.plnk/1.2", ""),
            dir(".wh..wh.aufs"),
            dir(".wh..wh.orph"),
        ]));
        assert_eq!(facts(&layer).len(), 1);
        for parts in [
            [file("f", "1"), file(".wh.f", "")],
            [file(".wh.f", ""), file("f", "1")],
        ] {
            assert_eq!(text(scene.good(&tar(&parts)).join("f")), "1");
        }
        let canary = scene.canary();
        let layer = scene.good(&tar(&[symlink("a", &canary), file("a/.wh.victim", "")]));
        assert!(is_whiteout(
            &layer.join(canary.trim_start_matches('/')).join("victim")
        ));
        let layer = scene.good(&tar(&[symlink("a", &canary), file(".wh.a", "")]));
        assert!(
            fs::symlink_metadata(layer.join("a"))
                .expect("a")
                .is_symlink()
        );
        for dialect in [Head::gnu as fn(Head) -> Head, |head| head, Head::v7] {
            let device = dialect(Head::new(b"victim", b'3').device(0, 0));
            scene.bad(&tar(&[device.bytes()]), Rule::OverlayWhiteout);
        }
        if !scene.has_opaque() {
            return;
        }
        let opaque = [(scene.overlay().opaque().as_bytes().to_vec(), b"y".to_vec())];
        let mark = Head::new(b"d/.wh..wh..opq", b'0').data(b"content").bytes();
        let twice = [mark.clone(), file("d/f", "1"), mark.clone()];
        for parts in [[mark.clone(), file("d/f", "1"), dir("e")], twice] {
            let layer = scene.good(&tar(&parts));
            assert_eq!(text(layer.join("d/f")), "1");
            assert_eq!(xattrs(&layer.join("d")), opaque);
            assert!(!layer.join("d/.wh..wh..opq").exists());
        }
        let (_, applied) = scene.apply(&tar(&[dir("a"), dir(".wh..wh..opq"), file("f", "1")]));
        assert!(applied.expect("honest").root_opaque);
        let layer = scene.good(&tar(&[file("d/f", "1"), file(".wh.d", "")]));
        assert_eq!(text(layer.join("d/f")), "1");
        assert_eq!(xattrs(&layer.join("d")), opaque);
    });
}

/// T22 to T25, T47.
pub(crate) fn kinds_and_modes(who: Who) {
    scene(who, |scene| {
        let null = Head::new(b"null", b'3').device(1, 3).bytes();
        let disk = Head::new(b"disk", b'4').device(8, 0).bytes();
        let (layer, applied) = scene.apply(&tar(&[null, disk, file("f", "")]));
        assert_eq!(applied.expect("honest").devices_skipped, 2);
        assert_eq!(facts(&layer).len(), 2);
        let fifo = Head::new(b"pipe", b'6').mode(0o622).bytes();
        let layer = scene.good(&tar(&[fifo]));
        let stat = fs::symlink_metadata(layer.join("pipe")).expect("pipe");
        assert!(stat.file_type().is_fifo());
        assert_eq!(mode(layer.join("pipe")), 0o622);
        for bits in [0o4755, 0o2755, 0o1777, 0o7777, 0] {
            let parts = [
                Head::new(b"f", b'0').mode(bits).bytes(),
                Head::new(b"d", b'5').mode(bits).bytes(),
                file("d/f", "in"),
            ];
            let layer = scene.good(&tar(&parts));
            assert_eq!((mode(layer.join("f")), mode(layer.join("d"))), (bits, bits));
            assert!(layer.join("d/f").exists());
        }
        scene.good(&tar(&[Head::new(b"f", b'0').mode(0o100_644).bytes()]));
        for wrong in [0o40_644, 0o10_000, 0o120_777] {
            scene.bad(
                &tar(&[Head::new(b"f", b'0').mode(wrong).bytes()]),
                Rule::Mode,
            );
        }
        let uid = |field: &[u8]| tar(&[Head::new(b"f", b'0').with(108, field).bytes()]);
        scene.bad(&uid(&base256(-1, 8)), Rule::Negative);
        scene.bad(&uid(&base256(1 << 32, 8)), Rule::Id);
        scene.bad(&uid(&base256((1 << 32) - 1, 8)), Rule::Id);
        scene.good(&uid(&base256(0, 8)));
        if who == Who::User {
            let owned = tar(&[Head::new(b"f", b'0').owner(7, 0).bytes()]);
            let error = scene.apply(&owned).1.expect_err("one id is mapped");
            assert_eq!(
                error.errno().map(|errno| errno.raw_os_error()),
                Some(libc::EINVAL)
            );
            assert!(error.hint().is_some_and(|hint| hint.contains("subuid")));
        } else {
            let owned = tar(&[Head::new(b"f", b'0').owner(7, 8).mode(0o4755).bytes()]);
            let stat = facts(&scene.good(&owned))[Path::new("f")].clone();
            assert_eq!((stat.owner, stat.mode & 0o7777), ((7, 8), 0o4755));
            let range = IdRange {
                inside: 0,
                outside: 100_000,
                count: 100,
            };
            let (uids, gids) = (vec![range], vec![range]);
            let options = Options {
                owners: Owners::Mapped { uids, gids },
                ..scene.options()
            };
            let (layer, result) = scene.apply_with(&owned, &Limits::default(), &options);
            result.expect("mapped");
            assert_eq!(facts(&layer)[Path::new("f")].owner, (100_007, 100_008));
            let far = tar(&[Head::new(b"f", b'0').owner(100, 0).bytes()]);
            let error = scene.apply_with(&far, &Limits::default(), &options).1;
            let error = error.expect_err("outside").to_string();
            assert_eq!(
                error,
                "entry \"f\": its owner is outside the ids that are mapped"
            );
        }
    });
}

/// T26 to T28.
pub(crate) fn attributes(who: Who) {
    scene(who, |scene| {
        let with = |name: &str, value: &[u8]| {
            tar(&[
                pax(&[(&format!("SCHILY.xattr.{name}"), value)]),
                file("f", ""),
            ])
        };
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "trusted.overlay.metacopy",
            "user.overlay.origin",
            "user.overlay.whiteout",
            "security.selinux",
            "security.ima",
        ] {
            let (layer, applied) = scene.apply(&with(name, b"y"));
            assert_eq!(applied.expect(name).xattrs_skipped, 1);
            assert_eq!(xattrs(&layer.join("f")), [], "{name}");
        }
        let v2 = [&[1, 0, 0, 2][..], &[0; 16]].concat();
        let layer = scene.good(&with("security.capability", &v2));
        assert_eq!(xattrs(&layer.join("f"))[0].0, b"security.capability");
        scene.bad(&with("security.capability", b"short"), Rule::Capability);
        let acl = |perm: u8| {
            let mut list = vec![2, 0, 0, 0];
            for tag in [1, 4, 0x20] {
                list.extend([tag, 0, perm, 0, 255, 255, 255, 255]);
            }
            list
        };
        scene.good(&with("system.posix_acl_access", &acl(6)));
        scene.bad(&with("system.posix_acl_access", &acl(8)), Rule::Acl);
        scene.bad(&with("system.posix_acl_default", b"\x02"), Rule::Acl);
        scene.bad(
            &with("user.big", &vec![b'x'; (64 << 10) + 1]),
            Rule::XattrSize,
        );
        let many = |count: usize| {
            let names: Vec<_> = (0..count)
                .map(|at| format!("SCHILY.xattr.none.{at}"))
                .collect();
            let records: Vec<(&str, &[u8])> =
                names.iter().map(|n| (n.as_str(), &b"v"[..])).collect();
            tar(&[pax(&records), file("f", "")])
        };
        scene.good(&many(64));
        scene.bad(&many(65), Rule::XattrCount);
        if scene.has_xattr("user.probe") {
            let layer = scene.good(&with("user.mine", b"\0value\n"));
            assert_eq!(
                xattrs(&layer.join("f")),
                [(b"user.mine".to_vec(), b"\0value\n".to_vec())]
            );
        }
    });
}

/// T29 to T33, T35.
pub(crate) fn extended_headers(who: Who) {
    scene(who, |scene| {
        let over = |key: &str, value: &[u8]| tar(&[pax(&[(key, value)]), file("f", "data")]);
        scene.bad(&over("path", b"../x"), Rule::DotDot);
        scene.bad(&over("path", b""), Rule::NameEmpty);
        let link =
            |value: &[u8]| tar(&[file("f", ""), pax(&[("linkpath", value)]), hard("g", "f")]);
        scene.bad(&link(b"../x"), Rule::LinkDotDot);
        scene.bad(&link(b"a\0b"), Rule::NameNul);
        scene.good(&link(b"f"));
        let twice = tar(&[pax(&[("path", b"../x"), ("path", b"ok")]), file("f", "")]);
        assert!(scene.good(&twice).join("ok").exists());
        scene.good(&over("size", b"4"));
        scene.bad(&over("size", b"5"), Rule::SizeConflict);
        for value in [&b"-4"[..], b"0x4", b" 4", b"", b"99999999999999999999"] {
            scene.bad(&over("size", value), Rule::PaxValue);
        }
        let none = tar(&[pax(&[("size", b"4")]), file("f", "")]);
        scene.bad(&none, Rule::SizeConflict);
        let huge = tar(&[pax(&[("size", b"9000000000000000000")]), file("f", "")]);
        let limit = Limits::default().bytes;
        scene.fails(
            &huge,
            &Error::Limit {
                bound: Bound::Bytes,
                limit,
            },
        );
        let name = "n".repeat(150);
        scene.bad(
            &tar(&[pax(&[("path", b"p")]), long(b'L', b"l"), file("f", "")]),
            Rule::Mixed,
        );
        scene.bad(
            &tar(&[long(b'K', b"l"), pax(&[("path", b"p")]), file("f", "")]),
            Rule::Mixed,
        );
        scene.bad(&tar(&[pax(&[]), pax(&[]), file("f", "")]), Rule::PaxTwice);
        scene.bad(
            &tar(&[long(b'L', b"l"), long(b'L', b"l"), file("f", "")]),
            Rule::LongTwice,
        );
        scene.bad(&tar(&[long(b'L', b"l")]), Rule::Dangling);
        scene.bad(&tar(&[pax(&[("path", b"p")])]), Rule::Dangling);
        scene.bad(
            &tar(&[long(b'L', &vec![b'l'; 65_536]), file("f", "")]),
            Rule::LongSize,
        );
        scene.bad(&tar(&[long(b'L', b"../x"), file("f", "")]), Rule::DotDot);
        let layer = scene.good(&tar(&[
            long(b'L', name.as_bytes()),
            file("f", "1"),
            long(b'K', name.as_bytes()),
            long(b'L', b"link"),
            hard("short", "short"),
        ]));
        assert_eq!(text(layer.join("link")), "1");
        let raw = |data: &[u8]| tar(&[Head::new(b"x", b'x').data(data).bytes(), file("f", "")]);
        for data in [
            &b"99 path=a\n"[..],
            b"8 path=a\n",
            b"0 path=a\n",
            b"10 path a\n",
            b"10 path=ab",
        ] {
            scene.bad(&raw(data), Rule::PaxRecord);
        }
        let large = Head::new(b"x", b'x').size(100 << 20).bytes();
        scene.bad(&tar(&[large, file("f", "")]), Rule::PaxSize);
        let global = |key: &str, value: &[u8]| {
            let data = record(key.as_bytes(), value);
            tar(&[
                Head::new(b"g", b'g').data(&data).bytes(),
                file("f", ""),
                file("g", ""),
            ])
        };
        for (key, value) in [
            ("path", &b"p"[..]),
            ("size", b"0"),
            ("linkpath", b"p"),
            ("GNU.sparse.major", b"1"),
        ] {
            scene.bad(&global(key, value), Rule::Global);
        }
        scene.good(&global("comment", b"a commit"));
        let layer = scene.good(&global("mtime", b"7.5"));
        assert_eq!(facts(&layer)[Path::new("g")].mtime, (7, 500_000_000));
    });
}

/// A file in one of the sparse formats, its regions given as offset, length.
fn sparse(format: &str, regions: &[(u64, u64)], real: u64, data: &[u8]) -> Vec<u8> {
    let real_text = real.to_string();
    let real_bytes = real_text.as_bytes();
    let flat: Vec<String> = regions
        .iter()
        .flat_map(|(offset, length)| [offset.to_string(), length.to_string()])
        .collect();
    let count = regions.len().to_string();
    match format {
        "old" => {
            let mut head = Head::new(b"s", b'S').gnu().data(data);
            for (at, (offset, length)) in regions.iter().enumerate() {
                let field = |value: u64| match value >> 33 {
                    0 => octal(value, 12),
                    _ => base256(value.into(), 12),
                };
                head = head
                    .with(386 + 24 * at, &field(*offset))
                    .with(398 + 24 * at, &field(*length));
            }
            head.with(483, &base256(real.into(), 12)).bytes()
        }
        "0.0" => {
            let mut records: Vec<(&str, &[u8])> = vec![
                ("GNU.sparse.size", real_bytes),
                ("GNU.sparse.numblocks", count.as_bytes()),
            ];
            for (at, number) in flat.iter().enumerate() {
                let key = ["GNU.sparse.offset", "GNU.sparse.numbytes"][at % 2];
                records.push((key, number.as_bytes()));
            }
            let head = Head::new(b"s", b'0').data(data).bytes();
            [pax(&records), head].concat()
        }
        "0.1" => {
            let map = flat.join(",");
            let head = Head::new(b"GNUSparseFile.0/s", b'0').data(data).bytes();
            let records: [(&str, &[u8]); 4] = [
                ("GNU.sparse.size", real_bytes),
                ("GNU.sparse.numblocks", count.as_bytes()),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.map", map.as_bytes()),
            ];
            [pax(&records), head].concat()
        }
        _ => {
            let mut body = format!("{count}\n").into_bytes();
            for number in &flat {
                body.extend(format!("{number}\n").into_bytes());
            }
            body.resize(body.len().next_multiple_of(512), 0);
            body.extend_from_slice(data);
            let head = Head::new(b"GNUSparseFile.0/s", b'0').data(&body).bytes();
            let records: [(&str, &[u8]); 4] = [
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", real_bytes),
            ];
            [pax(&records), head].concat()
        }
    }
}

/// T34.
pub(crate) fn sparse_files(who: Who) {
    scene(who, |scene| {
        for format in ["old", "0.0", "0.1", "1.0"] {
            let one = |regions: &[(u64, u64)], real, data: &[u8]| {
                tar(&[sparse(format, regions, real, data), file("next", "1")])
            };
            let layer = scene.good(&one(&[(0, 1), (1 << 20, 2)], 2 << 20, b"abc"));
            let content = fs::read(layer.join("s")).expect(format);
            assert_eq!(
                (content.len(), content[0], &content[1 << 20..][..3]),
                (2 << 20, b'a', &b"bc\0"[..])
            );
            assert!(
                fs::metadata(layer.join("s")).expect(format).blocks() < 64,
                "holes stay holes"
            );
            assert_eq!(text(layer.join("next")), "1");
            scene.bad(&one(&[(0, 2), (1, 1)], 9, b"abc"), Rule::Sparse);
            scene.bad(&one(&[(5, 1), (0, 2)], 9, b"abc"), Rule::Sparse);
            scene.bad(&one(&[(8, 3)], 9, b"abc"), Rule::Sparse);
            scene.bad(&one(&[(0, 2)], 9, b"abc"), Rule::Sparse);
            scene.bad(&one(&[(u64::MAX, 3)], 9, b"abc"), Rule::Sparse);
            scene.bad(&one(&[(0, 3)], 1 << 63, b"abc"), Rule::Sparse);
            let limit = Limits::default().bytes;
            scene.fails(
                &one(&[(0, 3)], 1 << 62, b"abc"),
                &Error::Limit {
                    bound: Bound::Bytes,
                    limit,
                },
            );
        }
        let named = pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"../x"),
            ("GNU.sparse.realsize", b"0"),
        ]);
        let body = [&b"0\n"[..], &[0; 510]].concat();
        scene.bad(
            &tar(&[named, Head::new(b"s", b'0').data(&body).bytes()]),
            Rule::DotDot,
        );
        let more = Head::new(b"s", b'S').gnu().with(482, b"\x01").bytes();
        let mut unending = [0; 512];
        unending[504] = 1;
        scene.bad(&tar(&[more, unending.to_vec()]), Rule::Sparse);
    });
}

/// T36, T37.
pub(crate) fn numbers_and_types(who: Who) {
    scene(who, |scene| {
        let mtime = |field: &[u8]| {
            let layer = scene.good(&tar(&[Head::new(b"f", b'0').with(136, field).bytes()]));
            facts(&layer)[Path::new("f")].mtime.0
        };
        assert_eq!(mtime(&base256(-5, 12)), -5);
        assert_eq!(mtime(&base256(1 << 63, 12)), (1 << 34) - (1 << 31) - 1);
        assert_eq!(mtime(&base256(-(1 << 70), 12)), -(1 << 31));
        let size = |field: &[u8]| tar(&[Head::new(b"f", b'0').with(124, field).bytes()]);
        scene.bad(&size(&base256(-1, 12)), Rule::Negative);
        scene.bad(&size(&base256(1 << 64, 12)), Rule::Number);
        scene.bad(&size(b"12x4567890\0\0"), Rule::Number);
        scene.good(&size(&base256(0, 12)));
        let mut wrong = Head::new(b"f", b'0');
        wrong.off = 1;
        scene.bad(&tar(&[wrong.bytes()]), Rule::Checksum);
        // One byte from 128 on makes the signed sum 256 less.
        let sum: u32 = {
            let bytes = Head::new(b"f\xff", b'0').bytes();
            let text = std::str::from_utf8(&bytes[148..154]).expect("octal");
            u32::from_str_radix(text, 8).expect("octal") - 256
        };
        let mut bytes = Head::new(b"f\xff", b'0').bytes();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        scene.good(&tar(&[bytes]));
        let layer = scene.good(&tar(&[
            Head::new(b"old", 0).v7().data(b"7").bytes(),
            Head::new(b"d/", 0).v7().bytes(),
        ]));
        assert_eq!(text(layer.join("old")), "7");
        assert!(layer.join("d").is_dir());
        for flag in [b'Z', b'M', b'V', b'N', b'D', b's', 0xff] {
            scene.bad(&tar(&[Head::new(b"f", flag).gnu().bytes()]), Rule::Type);
        }
        for flag in [b'1', b'2', b'5', b'6'] {
            let head = Head::new(b"f", flag).link(b"t").data(b"data");
            scene.bad(&tar(&[head.bytes()]), Rule::DataOfNothing);
        }
    });
}

/// T42 to T45.
pub(crate) fn ends(who: Who) {
    scene(who, |scene| {
        let short = Head::new(b"f", b'0')
            .with(124, &base256((1 << 35) - 1, 12))
            .bytes();
        scene.fails(&short, &Error::End { at: 512 });
        let eight = Head::new(b"f", b'0')
            .with(124, &base256((1 << 63) - 1, 12))
            .bytes();
        let limit = Limits::default().bytes;
        scene.fails(
            &eight,
            &Error::Limit {
                bound: Bound::Bytes,
                limit,
            },
        );
        let whole = tar(&[
            dir("d"),
            file("d/f", &"x".repeat(1000)),
            pax(&[("path", b"p")]),
            file("g", "1"),
        ]);
        scene.good(&whole);
        for at in (0..whole.len()).step_by(512) {
            match at {
                // Between two entries, as writers that are not closed leave it; 2040 is in the zeros of d/f.
                512 | 2048 | 4096 => drop(scene.good(&whole[..at])),
                3072 => scene.bad(&whole[..at], Rule::Dangling),
                _ => scene.fails(&whole[..at], &Error::End { at: at as u64 }),
            }
        }
        let layer = scene.good(&whole[..2040]);
        assert_eq!(text(layer.join("d/f")).len(), 1000);
        for at in [511, 700, 2023, 2100] {
            scene.fails(&whole[..at], &Error::End { at: at as u64 });
        }
        let mut zeros = whole.clone();
        zeros.resize(zeros.len() + 10_000, 0);
        scene.good(&zeros);
        for trailer in [&b"junk"[..], &whole] {
            scene.bad(&[&zeros, trailer].concat(), Rule::Trailer);
        }
        let lone = [file("a", ""), vec![0; 512], tar(&[file("b", "")])].concat();
        scene.bad(&lone, Rule::Trailer);
        let layer = scene.good(&tar(&[file("a/b/c", "1")]));
        assert_eq!(
            (mode(layer.join("a")), mode(layer.join("a/b"))),
            (0o755, 0o755)
        );
        assert_eq!(facts(&layer)[Path::new("a/b")].mtime, (0, 0));
        scene.bad(&tar(&[file("a", ""), file("a/b/c", "")]), Rule::ParentType);
    });
}

/// T40, T41, T46.
pub(crate) fn limits(who: Who) {
    scene(who, |scene| {
        let mut many: Vec<Vec<u8>> = (0..20_000)
            .map(|at| file("same", &at.to_string()))
            .collect();
        many.extend((0..5_000).flat_map(|_| [symlink("turn", "/etc"), file("turn", "last")]));
        let layer = scene.good(&tar(&many));
        assert_eq!(
            (text(layer.join("same")), text(layer.join("turn"))),
            ("19999".into(), "last".into())
        );
        let limits = Limits {
            entries: 10,
            bytes: 100,
            ..Limits::default()
        };
        let (_, result) = scene.apply_with(&tar(&many), &limits, &scene.options());
        assert_eq!(
            result,
            Err(Error::Limit {
                bound: Bound::Entries,
                limit: 10
            })
        );
        let large = tar(&[file("a", &"x".repeat(60)), file("b", &"x".repeat(60))]);
        let (layer, result) = scene.apply_with(&large, &limits, &scene.options());
        assert_eq!(
            result,
            Err(Error::Limit {
                bound: Bound::Bytes,
                limit: 100
            })
        );
        assert!(!layer.join("b").exists());
        let deep = |depth: usize| {
            let name = "d/".repeat(depth);
            tar(&[pax(&[("path", name.as_bytes())]), dir("d")])
        };
        scene.bad(&deep(1025), Rule::Depth);
        let layer = scene.good(
            &[
                deep(1024)[..].strip_suffix(&[0; 1024]).expect("the end"),
                &tar(&[file("d", "a file now")]),
            ]
            .concat(),
        );
        assert_eq!(text(layer.join("d")), "a file now");
    });
}

/// Times of directories, whatever is made in them later and by which name.
pub(crate) fn directory_times(who: Who) {
    scene(who, |scene| {
        let mut parts = vec![dir("d"), symlink("s", "d")];
        for at in 0..40 {
            parts.push(file(&format!("d/f{at}"), ""));
            parts.push(file(&format!("e{at}/f"), ""));
            parts.push(file(&format!("s/g{at}"), ""));
        }
        parts.push(file("d/f0", "again"));
        parts.push(dir("e3"));
        let layer = scene.good(&tar(&parts));
        let all = facts(&layer);
        assert_eq!(all[Path::new("d")].mtime, (1 << 30, 0));
        assert_eq!(all[Path::new("e3")].mtime, (1 << 30, 0));
        assert_eq!(all[Path::new("e4")].mtime, (0, 0));
        let wide: Vec<_> = (0..300)
            .map(|at| file(&format!("w/{at}/deep/er"), ""))
            .collect();
        let layer = scene.good(&tar(&[
            wide.concat(),
            symlink("w/9/out", "/"),
            file("w", "a file now"),
        ]));
        assert_eq!(text(layer.join("w")), "a file now");
        assert_eq!(facts(&layer).len(), 2);
        let locked = tar(&[
            Head::new(b"d", b'5').mode(0).bytes(),
            file("d/e/f", "1"),
            Head::new(b"d/e", b'5').mode(0o500).bytes(),
            file("d/e/g", "1"),
        ]);
        let layer = scene.good(&locked);
        assert_eq!(mode(layer.join("d")), 0);
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(layer.join("d"), permissions).expect("ours");
    });
}
