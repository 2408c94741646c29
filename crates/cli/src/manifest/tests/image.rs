//! What an image says, in the place of what a manifest leaves out.

use std::path::PathBuf;

use engine::spec::{At, Group, Origin, Root, Spec, Upper, User};
use image::{Descriptor, Digest, ImageConfig, Manifest};
use serde_json::{Value, json};

use super::World;
use crate::diagnostic::{Report, Source};
use crate::manifest::{Image, parse};

/// What an image with this configuration, of two layers, makes of a manifest.
fn lowered(config: &Value, manifest: &str, args: &[&str]) -> Result<Spec, Box<Report>> {
    let blob = |media_type: &str| {
        let digest = Digest::of(media_type.as_bytes());
        Descriptor::new(media_type, digest, 6)
    };
    let layer = blob("application/vnd.oci.image.layer.v1.tar");
    let documents = Manifest::new(
        blob("application/vnd.oci.image.config.v1+json"),
        vec![layer; 2],
    );
    let diff_id = Digest::of(b"layer").to_string();
    let bytes = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [diff_id, diff_id] },
    });
    let config = ImageConfig::parse(&documents, bytes.to_string().as_bytes()).expect("an image");
    let image = Image {
        config: &config,
        record: None,
        lowers: vec!["/layers/top".into(), "/layers/low".into()],
    };
    let world = World::new();
    let source = Source::new("x.toml".into(), format!("image = \"web\"\n{manifest}"));
    let path = "x.toml".as_ref();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    parse(source, path, &world.folder(), &world.options())?.spec(&args, Some(&image))
}

#[track_caller]
fn argv(config: &Value, manifest: &str, args: &[&str]) -> (Vec<String>, Origin) {
    let spec = lowered(config, manifest, args).expect("it is right");
    (spec.process.argv.value, spec.process.argv.origin)
}

fn value_of<'a>(spec: &'a Spec, name: &str) -> Option<(&'a str, Origin)> {
    let mut all = spec.process.env.iter().filter(|v| v.value.0 == name);
    let found = all.next().map(|v| (v.value.1.as_str(), v.origin));
    assert!(all.next().is_none(), "{name} comes twice");
    found
}

#[test]
fn the_layers_are_the_root() {
    let spec = lowered(&json!({ "Cmd": ["sh"] }), "", &[]).expect("it is right");
    let lowers: Vec<PathBuf> = vec!["/layers/top".into(), "/layers/low".into()];
    let upper = Upper::Ephemeral;
    assert_eq!(
        spec.root,
        At::line(1, Root::Overlay { lowers, upper }),
        "topmost first, and what is written goes away"
    );
}

#[test]
fn the_image_says_what_the_manifest_leaves_out() {
    let config = json!({
        "Cmd": ["serve"],
        "Env": ["PATH=/opt/bin", "A=image"],
        "WorkingDir": "/srv",
        "User": "web:www",
        "StopSignal": "SIGQUIT",
        "Labels": { "a": "image", "b": "image" },
    });
    let spec = lowered(&config, "", &[]).expect("it is right");
    assert_eq!(value_of(&spec, "PATH"), Some(("/opt/bin", Origin::Image)));
    assert_eq!(value_of(&spec, "A"), Some(("image", Origin::Image)));
    let user = User::Name {
        user: "web".into(),
        group: Some(Group::Name("www".into())),
    };
    let of_image = |value| At {
        value,
        origin: Origin::Image,
    };
    assert_eq!(spec.process.user, of_image(user));
    assert_eq!(spec.process.workdir.value, PathBuf::from("/srv"));
    assert_eq!(spec.process.workdir.origin, Origin::Image);
    assert_eq!(
        (spec.stop.signal.value, spec.stop.signal.origin),
        (3, Origin::Image)
    );

    let manifest = "user = \"0\"\nworkdir = \"/\"\nenv.A = \"manifest\"\n\
                    stop.signal = \"SIGINT\"\nlabels.a = \"manifest\"\n";
    let spec = lowered(&config, manifest, &[]).expect("it is right");
    assert_eq!(value_of(&spec, "A"), Some(("manifest", Origin::Line(4))));
    assert_eq!(value_of(&spec, "PATH"), Some(("/opt/bin", Origin::Image)));
    let root = User::Id {
        uid: 0,
        group: None,
    };
    assert_eq!(spec.process.user, At::line(2, root));
    assert_eq!(spec.process.workdir, At::line(3, PathBuf::from("/")));
    assert_eq!(spec.stop.signal, At::line(5, 2));
    assert_eq!(spec.labels["a"], "manifest");
    assert_eq!(spec.labels["b"], "image");
}

#[test]
fn an_image_that_says_nothing_gets_the_defaults() {
    let spec = lowered(&json!({}), "command = [\"true\"]\n", &[]).expect("it is right");
    assert_eq!(spec.process.workdir, At::default_of(PathBuf::from("/")));
    assert_eq!(spec.stop.signal, At::default_of(15));
    let path = value_of(&spec, "PATH").expect("there is one");
    assert_eq!(path.1, Origin::Default);
}

#[test]
fn arguments_go_where_docker_puts_them() {
    let both = json!({ "Entrypoint": ["entry", "-e"], "Cmd": ["cmd", "-c"] });
    let cmd = json!({ "Cmd": ["cmd", "-c"] });
    for (config, manifest, args, wanted, origin) in [
        (
            &both,
            "",
            &[][..],
            &["entry", "-e", "cmd", "-c"][..],
            Origin::Image,
        ),
        (&both, "", &["x"], &["entry", "-e", "x"], Origin::Default),
        (
            &both,
            "args = [\"y\"]",
            &[],
            &["entry", "-e", "y"],
            Origin::Line(2),
        ),
        (
            &both,
            "args = [\"y\"]",
            &["x"],
            &["entry", "-e", "y", "x"],
            Origin::Line(2),
        ),
        (&both, "command = [\"own\"]", &[], &["own"], Origin::Line(2)),
        (
            &both,
            "command = [\"own\"]",
            &["x"],
            &["own", "x"],
            Origin::Line(2),
        ),
        (&cmd, "", &[], &["cmd", "-c"], Origin::Image),
        (&cmd, "", &["x"], &["x"], Origin::Default),
    ] {
        let got = argv(config, manifest, args);
        let wanted: Vec<String> = wanted.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(got, (wanted, origin), "{config} {manifest} {args:?}");
    }
}

#[test]
fn an_image_without_a_program_needs_one_in_the_manifest() {
    let report = lowered(&json!({}), "", &[]).expect_err("nothing to run");
    let text = report.render(false);
    assert!(text.contains("missing key `command`"), "{text}");
    assert!(text.contains("this image names no program"), "{text}");
}

#[test]
fn what_an_image_says_is_held_to_the_rules_of_manifests() {
    let config = json!({ "Cmd": ["sh"], "WorkingDir": "/proc/1/cwd" });
    let report = lowered(&config, "", &[]).expect_err("no place to start in");
    let text = report.render(false);
    assert!(text.contains("the image's working directory is"), "{text}");
    assert!(lowered(&config, "workdir = \"/\"\n", &[]).is_ok());
}
