//! Where the fuzzer begins: one or two well-formed inputs of each kind.

use crate::tarball::{Head, dir, file, hard, long, pax, symlink, tar};

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let text = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "archive" | "layer" => archives(),
        "whiteouts" => vec![
            b"\x00\x00\x01\x00\x01\xff\x01\x03".to_vec(),
            b"\x00\x00\x00\x01\x01\x02\x01\x00\x02\x05".to_vec(),
            // A file below a link that leads to a name of a whiteout.
            b"\x02\x00\x09\x03\x00\x00\x00\x00".to_vec(),
        ],
        "reference" => text(&[
            "nginx",
            "registry.lan:5000/team/app:1.2",
            "docker.io/a.b/c",
            "linux/arm/v7",
            "[::1]:5000/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ]),
        "challenge" => text(&[
            "Basic realm=\"x\"",
            "Bearer realm=\"https://auth.example/token\",service=\"a\",scope=\"repository:a/b:pull\"",
            "Negotiate abc==, Basic realm=a, Bearer realm=\"a\\\"b\"",
        ]),
        "documents" => text(&[MANIFEST, INDEX, CONFIG]),
        "logins" => text(&[
            LOGINS,
            "{\"credsStore\":\"desktop\",\"auths\":{\"a.example\":{}}}",
        ]),
        _ => Vec::new(),
    }
}

fn archives() -> Vec<Vec<u8>> {
    let plain = [
        dir("a"),
        file("a/b", "text"),
        symlink("c", "a/b"),
        hard("d", "a/b"),
    ];
    let special = [
        pax(&[
            ("path", b"long/name"),
            ("SCHILY.xattr.user.a", b"b"),
            ("mtime", b"1.5"),
        ]),
        file("short", "x"),
        long(b'L', &[b'n'; 120]),
        Head::new(b"n", b'0').gnu().bytes(),
        Head::new(b"pipe", b'6').bytes(),
        file(".wh.gone", ""),
        file("a/.wh..wh..opq", ""),
    ];
    let sparse = [
        pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"holes"),
            ("GNU.sparse.realsize", b"4096"),
        ]),
        file(
            "GNUSparseFile.0/holes",
            &format!("1\n0\n4\n{}data", "\0".repeat(506)),
        ),
    ];
    vec![tar(&plain), tar(&special), tar(&sparse)]
}

const MANIFEST: &str = r#"0{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":7,
"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7,
"digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}],
"annotations":{"a":"b"}}"#;

const INDEX: &str = r#"1{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,
"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}"#;

const CONFIG: &str = r#"2{"os":"linux","architecture":"amd64","created":"2024-01-01T00:00:00Z",
"rootfs":{"type":"layers","diff_ids":["sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]},
"history":[{"created_by":"x","empty_layer":true}],
"config":{"User":"1:g","ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Entrypoint":["/a"],"Cmd":["b"],
"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"l":"m"},"StopSignal":"SIGTERM",
"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Retries":3}}}"#;

const LOGINS: &str = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},
"a.example":{"username":"a","password":"b"},"a.example/x":{"identitytoken":"t"}},
"credHelpers":{"b.example":"none"},"HttpHeaders":{"a":"b"}}"#;
