//! How much memory the worst layers and documents take, as the kernel counted it.
//!
//! One test and one program: what is measured is the largest of all children of this process.

#![allow(unsafe_code, reason = "getrusage(2)")]

#[path = "common/tarball.rs"]
mod tarball;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use image::archive::{Input, Output, Root, import, load, save};
use image::layer::{Limits, Options, OverlayAttrs, Owners, Unpack};
use image::{Descriptor, Digest, ImageConfig, Manifest, Platform, Quiet, Store};
use tarball::{Head, dir, file, long, pax};

const PLACE: &str = "IMAGE_TEST_MEMORY_PLACE";
/// Bytes.
const MOST: i64 = 64 << 20;

/// The other process. It does nothing in an ordinary run of the tests.
#[test]
fn the_process_that_is_measured() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let root = File::open(Path::new(&place)).expect("the layer");
    let options = Options {
        owners: Owners::Caller,
        overlay: OverlayAttrs::User,
        ..Options::default()
    };
    let unpack = Unpack {
        root: root.as_fd(),
        compression: None,
        limits: &Limits::default(),
        options: &options,
    };
    let _any_answer = unpack.run(std::io::stdin().lock());
}

/// Unpacks what `write` writes, in a process of its own.
fn unpack(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
    measured(&["the_process_that_is_measured", "--exact"], PLACE, write);
}

/// Runs one of the other processes, with a directory in `variable` and what `write` writes.
fn measured(
    arguments: &[&str],
    variable: &str,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) {
    let place = tempfile::tempdir().expect("a directory");
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(arguments)
        .env(variable, place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this program again");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It ends early where it refuses.
    let _broken_pipe = write(&mut stdin);
    drop(stdin);
    assert!(child.wait().expect("wait").success());
}

fn largest() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills the whole structure, of which any bytes are valid.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_maxrss * 1024
}

const DOCUMENT: &str = "IMAGE_TEST_MEMORY_DOCUMENT";

/// Another such process: it reads a configuration of the largest size, as wide as JSON can be.
#[test]
fn the_process_that_reads_documents() {
    let Ok(what) = std::env::var(DOCUMENT) else {
        return;
    };
    let most = usize::try_from(image::MAX_DOCUMENT).expect("small") - 200;
    let filler = match what.as_str() {
        "numbers" => format!("[{}0]", "0,".repeat(most / 2)),
        _ => {
            let keys = (0..most / 12).map(|at| format!("\"{at:x}\":\"\","));
            format!("{{{}\"\":\"\"}}", keys.collect::<String>())
        }
    };
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[]}},"x":{filler}}}"#
    );
    drop(filler);
    let blob = |media_type: &str| Descriptor::new(media_type, Digest::of(b""), 0);
    let manifest = Manifest::new(blob("config"), vec![blob("layer")]);
    let error = ImageConfig::parse(&manifest, config.as_bytes()).expect_err("for no layer");
    assert!(error.to_string().ends_with("the manifest has 1"), "{error}");
}

const ARCHIVE: &str = "IMAGE_TEST_MEMORY_ARCHIVE";

/// A third one: it loads an image from its input, saves it, and imports its layer.
#[test]
fn the_process_that_loads_images() {
    let Some(place) = std::env::var_os(ARCHIVE) else {
        return;
    };
    let store = Store::open(&Path::new(&place).join("store")).expect("a store");
    let mut input = std::io::stdin().lock();
    let images = load(
        &store,
        Input::Stream(&mut input),
        None,
        &Platform::host(),
        &Quiet,
    )
    .expect("an archive");
    let layer = &images[0].manifest.layers[0];
    assert_eq!(layer.size, (300 << 20) + 1536);
    let name = images[0].record.name.clone();
    let mut out = std::io::sink();
    save(&store, &[name], Output::Docker(&mut out)).expect("an archive");
    let mut root = store
        .blob(&layer.digest)
        .expect("a store")
        .expect("a layer");
    let name = "root".parse().expect("a name");
    let image = import(&store, &mut root, &Root::new(&name)).expect("an image");
    assert_eq!(image.manifest.layers[0].digest, layer.digest);
}

/// An image of 300 MB as `docker save` writes it.
fn archive(out: &mut dyn Write) -> std::io::Result<()> {
    let piece = vec![7; 1 << 20];
    let layer = Head::new(b"f", b'0').size(300 << 20).bytes();
    let mut hasher = image::Hasher::new(image::Algorithm::Sha256);
    hasher.update(&layer);
    (0..300).for_each(|_| hasher.update(&piece));
    hasher.update(&[0; 1024]);
    let id = hasher.finish();
    let config = format!(
        r#"{{"os":"linux","architecture":"{}","rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#,
        Platform::host().architecture
    );
    let manifest = r#"[{"Config":"config","RepoTags":["a:1"],"Layers":["layer.tar"]}]"#;
    let size = (300 << 20) + 512 + 1024;
    out.write_all(&Head::new(b"layer.tar", b'0').size(size).bytes())?;
    out.write_all(&layer)?;
    (0..300).try_for_each(|_| out.write_all(&piece))?;
    out.write_all(&[0; 1024])?;
    out.write_all(&file("config", &config))?;
    out.write_all(&file("manifest.json", manifest))?;
    out.write_all(&[0; 1024])
}

#[test]
fn nothing_takes_more_than_64_mib() {
    for what in ["numbers", "keys"] {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["the_process_that_reads_documents", "--exact"]);
        let status = command.env(DOCUMENT, what).stdout(Stdio::null()).status();
        assert!(status.expect("this program again").success());
        assert!(largest() <= MOST, "{what}: {} bytes", largest());
    }
    layers();
    archives();
}

/// An archive does not, either.
fn archives() {
    for packed in [false, true] {
        measured(
            &["the_process_that_loads_images", "--exact"],
            ARCHIVE,
            |out| {
                if !packed {
                    return archive(out);
                }
                let mut out = flate2::write::GzEncoder::new(out, flate2::Compression::new(0));
                archive(&mut out)?;
                out.finish().map(|_| ())
            },
        );
        assert!(largest() <= MOST, "an archive: {} bytes", largest());
    }
}

/// No layer does.
fn layers() {
    let check = |name: &str| {
        let now = largest();
        assert!(now <= MOST, "{name}: {now} bytes");
    };
    unpack(|out| {
        let mut out = zstd::Encoder::new(out, 1)?;
        out.window_log(25)?;
        out.write_all(&Head::new(b"f", b'0').size(200 << 20).bytes())?;
        let noise: Vec<u8> = (0..1u32 << 20)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for turn in 0..200u8 {
            let piece: Vec<u8> = noise.iter().map(|byte| byte ^ turn).collect();
            out.write_all(&piece)?;
        }
        out.write_all(&[0; 1024])?;
        out.finish().map(|_| ())
    });
    check("the largest window");
    unpack(|out| {
        for at in 0..20_000 {
            out.write_all(&file(&format!("d{}/{at}", at % 100), ""))?;
            out.write_all(&dir(&format!("e{at}")))?;
        }
        out.write_all(&[0; 1024])
    });
    check("many names");
    unpack(|out| {
        let value = vec![b'v'; 60 << 10];
        let records: Vec<_> = (0..16)
            .map(|at| format!("SCHILY.xattr.none.{at}"))
            .collect();
        let records: Vec<_> = records.iter().map(|key| (&key[..], &value[..])).collect();
        for _ in 0..50 {
            out.write_all(&pax(&records))?;
            out.write_all(&file("f", ""))?;
        }
        out.write_all(&[0; 1024])
    });
    check("large extended headers");
    unpack(|out| out.write_all(&Head::new(b"x", b'x').size(100 << 20).bytes()));
    unpack(|out| {
        out.write_all(&long(b'L', &vec![b'n'; 65_000]))?;
        out.write_all(&file("f", ""))
    });
    unpack(|out| {
        let mut map = b"65536\n".to_vec();
        for at in 0..65_536u64 {
            map.extend(format!("{}\n0\n", at * 2).into_bytes());
        }
        map.resize(map.len().next_multiple_of(512), 0);
        let size = ("GNU.sparse.realsize", &b"200000"[..]);
        let version = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
        out.write_all(&pax(&[version[0], version[1], size]))?;
        out.write_all(&Head::new(b"s", b'0').data(&map).bytes())?;
        out.write_all(&[0; 1024])
    });
    check("headers and maps that are as large as they may be");
    unpack(|out| {
        let mut encoder = flate2::read::GzEncoder::new(
            std::io::repeat(0).take(300 << 20),
            flate2::Compression::fast(),
        );
        std::io::copy(&mut encoder, out).map(|_| ())
    });
    check("a bomb");
}
