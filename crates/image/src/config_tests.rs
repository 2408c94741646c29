//! Configurations that are good, and configurations that are refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::descriptor::Descriptor;
use crate::media::OCI_CONFIG;

fn manifest(layers: usize) -> Manifest {
    let digest = Digest::of(b"config");
    let layer = Descriptor::new(
        "application/vnd.oci.image.layer.v1.tar",
        Digest::of(b"layer"),
        5,
    );
    Manifest::new(Descriptor::new(OCI_CONFIG, digest, 6), vec![layer; layers])
}

fn parse(config: Value) -> Result<ImageConfig, Error> {
    let bytes = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"layer").to_string()] },
        "history": [{ "created_by": "RUN true", "empty_layer": true }],
    });
    ImageConfig::parse(&manifest(1), bytes.to_string().as_bytes())
}

#[test]
fn every_key_is_read() {
    let config = parse(json!({
        "User": "nginx:101",
        "ExposedPorts": { "80/tcp": {}, "53/UDP": {}, "443": {} },
        "Env": ["PATH=/bin", "EMPTY=", "A=b=c", "LINES=a\nb"],
        "Entrypoint": ["/docker-entrypoint.sh"],
        "Cmd": ["nginx", ""],
        "Volumes": { "/var/lib//x/": {}, "/processes": {} },
        "WorkingDir": "/srv",
        "Labels": { "a": "b" },
        "StopSignal": "SIGQUIT",
        "Healthcheck": { "Test": ["CMD", "check", "-q"], "Interval": 30_000_000_000_i64, "Retries": 3 },
        "ArgsEscaped": true,
        "OnBuild": null,
    }))
    .expect("a configuration");
    let number = |number| Id::Number(number);
    assert_eq!(
        config.user,
        Some(User {
            user: Id::Name("nginx".into()),
            group: Some(number(101))
        })
    );
    let ports: Vec<_> = config
        .exposed_ports
        .iter()
        .map(|port| (port.number, port.protocol))
        .collect();
    assert_eq!(ports, [(443, "tcp"), (53, "udp"), (80, "tcp")]);
    assert_eq!(config.env[2], ("A".to_owned(), "b=c".to_owned()));
    assert_eq!(config.env[3], ("LINES".to_owned(), "a\nb".to_owned()));
    assert_eq!(config.entrypoint, ["/docker-entrypoint.sh"]);
    assert_eq!(config.cmd, ["nginx", ""]);
    assert_eq!(config.volumes, ["/processes", "/var/lib/x"]);
    assert_eq!(config.working_dir.as_deref(), Some("/srv"));
    assert_eq!(config.stop_signal, Some(3));
    let health = config.health.expect("a probe");
    assert_eq!(health.probe, Probe::Exec(vec!["check".into(), "-q".into()]));
    assert_eq!(
        (health.interval, health.retries),
        (Some(Duration::from_secs(30)), Some(3))
    );
    assert!(config.history[0].empty_layer);
}

#[test]
fn what_is_missing_or_null_is_the_default() {
    for value in [
        Value::Null,
        json!({}),
        json!({ "Env": null, "User": "", "WorkingDir": "", "Cmd": null }),
    ] {
        let config = parse(value).expect("a configuration");
        assert_eq!(
            (config.user, config.working_dir, config.env.len()),
            (None, None, 0)
        );
    }
    let config = parse(json!({ "Healthcheck": { "Interval": 0 } })).expect("a configuration");
    assert_eq!(config.health, None);
}

#[track_caller]
fn refused(config: Value, key: &str, why: &str) {
    let text = config.to_string();
    let error = parse(config).expect_err(&text).to_string();
    assert!(
        error.starts_with(&format!("image config: {key} ")),
        "{error}"
    );
    assert!(error.contains(why), "{error}");
    assert!(error.len() < 400, "{error}");
}

#[test]
fn hostile_users_and_paths_are_refused() {
    for user in [
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "0:4294967296",
    ] {
        refused(json!({ "User": user }), "User", "up to 4294967294");
    }
    for user in ["-1", "+0", "a b", "a\nroot::0:0", "a:b:c", "../x"] {
        refused(json!({ "User": user }), "User", "a name is made of");
    }
    refused(json!({ "User": ":0" }), "User", "no user");
    refused(
        json!({ "WorkingDir": "a/../.." }),
        "WorkingDir",
        "not absolute",
    );
    refused(json!({ "WorkingDir": "/a/../.." }), "WorkingDir", "climbs");
    refused(json!({ "WorkingDir": "/a\0" }), "WorkingDir", "control");
    refused(
        json!({ "WorkingDir": "/a".repeat(3000) }),
        "WorkingDir",
        "longer",
    );
}

#[test]
fn hostile_words_are_refused() {
    refused(json!({ "Env": ["A"] }), "Env", "NAME=VALUE");
    refused(json!({ "Env": ["=A"] }), "Env", "has a name");
    refused(json!({ "Env": ["A\nB=c"] }), "Env", "control");
    refused(json!({ "Env": ["A=b\0"] }), "Env", "NUL");
    refused(
        json!({ "Env": vec!["A=b"; 100_000] }),
        "Env",
        "more than 4096",
    );
    refused(
        json!({ "Env": ["A=".to_owned() + &"b".repeat(1 << 20)] }),
        "Env",
        "128 KiB",
    );
    refused(json!({ "Entrypoint": [""] }), "Entrypoint", "no name");
    refused(json!({ "Cmd": ["", "a"] }), "Cmd", "no name");
    refused(json!({ "Entrypoint": ["a\0"] }), "Entrypoint", "NUL");
    refused(
        json!({ "Entrypoint": ["a".repeat(2 << 20)] }),
        "Entrypoint",
        "128 KiB",
    );
    refused(
        json!({ "Cmd": vec!["a".repeat(100_000); 20] }),
        "Cmd",
        "1 MiB",
    );
}

#[test]
fn hostile_values_of_all_else_are_refused() {
    for volume in ["/", "//", "/."] {
        refused(
            json!({ "Volumes": { volume: {} } }),
            "Volumes",
            "the root itself",
        );
    }
    refused(json!({ "Volumes": { "/..": {} } }), "Volumes", "climbs");
    refused(
        json!({ "Volumes": { "/../../../etc": {} } }),
        "Volumes",
        "climbs",
    );
    for volume in ["/proc", "/./proc/", "/sys/fs", "/dev//shm"] {
        refused(
            json!({ "Volumes": { volume: {} } }),
            "Volumes",
            "own file systems",
        );
    }
    for port in ["70000/udp", "0", "x", "+1", "/tcp", "80-90"] {
        refused(
            json!({ "ExposedPorts": { port: {} } }),
            "ExposedPorts",
            "1 to 65535",
        );
    }
    refused(
        json!({ "ExposedPorts": { "80/icmp": {} } }),
        "ExposedPorts",
        "tcp, udp or sctp",
    );
    for signal in ["SIGWAT", "999"] {
        refused(json!({ "StopSignal": signal }), "StopSignal", "no signal");
    }
    refused(
        json!({ "Labels": { "a": "b".repeat(2 << 20) } }),
        "Labels",
        "1 MiB",
    );
    let health = |key: &str, value: i64| json!({ "Healthcheck": { "Test": ["NONE"], key: value } });
    refused(health("Interval", -1), "Healthcheck", "not negative");
    refused(health("Timeout", 1), "Healthcheck", "at least 1 ms");
    refused(health("Retries", -1), "Healthcheck", "32 bits");
    refused(
        json!({ "Healthcheck": { "Test": ["RUN", "a"] } }),
        "Healthcheck",
        "it is NONE",
    );
}

#[test]
fn a_configuration_for_other_layers_is_refused() {
    let bytes = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"layer").to_string()] },
    });
    let error =
        ImageConfig::parse(&manifest(2), bytes.to_string().as_bytes()).expect_err("2 layers");
    assert!(
        error
            .to_string()
            .contains("is for 1 layers, and the manifest has 2"),
        "{error}"
    );
}

#[test]
fn a_key_that_others_would_take_for_ours_is_refused() {
    let read = |config: serde_json::Value, key: &str| {
        let mut image = json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"layer").to_string()] },
        });
        image[key] = json!({});
        ImageConfig::parse(&manifest(1), image.to_string().as_bytes()).map(drop)
    };
    let full = |error: Error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let error = full(read(json!({ "user": "root" }), "x").expect_err("another's User"));
    assert!(error.contains("\"user\" is \"User\""), "{error}");
    let error = full(read(json!({}), "Config").expect_err("another's config"));
    assert!(error.contains("\"Config\" is \"config\""), "{error}");
    let fine =
        json!({ "Labels": { "user": "a", "User": "b" }, "Volumes": { "/user": {}, "/User": {} } });
    read(fine, "container_config").expect("the maker's own keys");
}
