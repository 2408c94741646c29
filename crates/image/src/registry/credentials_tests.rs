//! Files of credentials, as Docker and podman write them.

use std::os::unix::fs::PermissionsExt as _;

use std::fs;

use serde_json::json;

use super::super::keep::{forget, remember};
use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.json");
    fs::write(&path, text).expect("a file");
    (directory, path)
}

fn password(user: &str, password: &str) -> Login {
    Login::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

#[test]
fn the_most_specific_entry_is_taken() {
    let auth = |user: &str| STANDARD.encode(format!("{user}:p:w"));
    let (_directory, path) = file(
        &json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": auth("hub") },
            "a.example": { "auth": auth("host") },
            "a.example/team": { "auth": auth("team") },
            "https://b.example/v2/": { "identitytoken": "secret" },
            "empty.example": {},
        }})
        .to_string(),
    );
    let credentials = Credentials::from_files(vec!["/nonexistent".into(), path]);
    for (registry, repository, login) in [
        ("docker.io", "library/nginx", Some(password("hub", "p:w"))),
        ("a.example", "team/x", Some(password("team", "p:w"))),
        ("a.example", "teams/x", Some(password("host", "p:w"))),
        ("b.example", "x", Some(Login::Identity("secret".to_owned()))),
        ("empty.example", "x", None),
        ("c.example", "x", None),
    ] {
        let found = credentials.login(registry, repository).expect("a look");
        assert_eq!(found, login, "{registry}/{repository}");
    }
    let given = credentials.with("a.example", password("given", "x"));
    let found = given.login("a.example", "team/x").expect("a look");
    assert_eq!(found, Some(password("given", "x")));
}

#[test]
fn damaged_files_are_errors_that_tell_no_secret() {
    for (text, why) in [
        ("{", "is not the JSON document"),
        (
            "{\"Auths\":{\"a.example\":{\"auth\":\"c2VjcmV0\"}}}",
            "\"Auths\" is \"auths\"",
        ),
        (
            "{\"auths\":{\"a.example\":{\"identityToken\":\"secret\"}}}",
            "\"identityToken\" is \"identitytoken\"",
        ),
        (
            "{\"auths\":{\"a.example\":{\"auth\":\"c2VjcmV0!\"}}}",
            "is not base64",
        ),
        (
            "{\"auths\":{\"a.example\":{\"auth\":\"c2VjcmV0\"}}}",
            "no colon",
        ),
        (
            "{\"auths\":{\"a.example\":\"secret\"}}",
            "is not written as Docker and podman",
        ),
        (
            "{\"credsStore\":\"../../bin/sh\"}",
            "is no name of a helper",
        ),
        (
            "{\"credHelpers\":{\"a.example\":\"nobody-has-this\"}}",
            "No such file",
        ),
    ] {
        let (_directory, path) = file(text);
        let error = Credentials::from_files(vec![path])
            .login("a.example", "x")
            .expect_err(text);
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let error = format!("{error} {}", source.unwrap_or_default());
        assert!(error.contains(why), "{error}");
        assert!(
            !error.contains("secret") && !error.contains("c2Vj"),
            "{error}"
        );
    }
    assert!(!format!("{:?}", password("me", "secret")).contains("secret"));
}

#[test]
fn a_login_is_remembered_for_its_owner_alone_and_forgotten_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new/config.json");
    remember(&path, "a.example", &password("me", "secret")).expect("remembered");
    remember(&path, "docker.io", &Login::Identity("token".to_owned())).expect("remembered");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let credentials = Credentials::from_files(vec![path.clone()]);
    let login = |registry: &str| credentials.login(registry, "x").expect("a look");
    assert_eq!(login("a.example"), Some(password("me", "secret")));
    assert_eq!(
        login("docker.io"),
        Some(Login::Identity("token".to_owned()))
    );
    assert!(forget(&path, "docker.io").expect("forgotten"));
    assert!(!forget(&path, "docker.io").expect("forgotten"));
    assert_eq!(
        (login("docker.io"), login("a.example").is_some()),
        (None, true)
    );
    let error = remember(&path, "a.example", &password("a:b", "c")).expect_err("a colon");
    assert!(error.to_string().ends_with("has no colon"), "{error}");
    assert_eq!(
        fs::read_dir(path.parent().expect("a directory"))
            .expect("names")
            .count(),
        1
    );
}

#[test]
fn what_else_is_in_the_file_stays() {
    let (_directory, path) = file("{\"HttpHeaders\":{\"a\":\"b\"},\"auths\":{}}");
    remember(&path, "a.example", &password("me", "x")).expect("remembered");
    let value: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    assert_eq!(value["HttpHeaders"]["a"], "b");
    assert_eq!(value["auths"]["a.example"]["auth"], STANDARD.encode("me:x"));
}

#[test]
fn a_login_takes_the_place_of_the_one_before_however_that_is_spelled() {
    let auth = STANDARD.encode("old:old");
    let (_directory, path) = file(
        &json!({ "auths": {
            "docker.io": { "auth": auth },
            "https://a.example/v1/": { "auth": auth },
            "a.example/team": { "auth": auth },
        }})
        .to_string(),
    );
    for registry in ["docker.io", "a.example"] {
        remember(&path, registry, &password("new", "new")).expect("remembered");
        let credentials = Credentials::from_files(vec![path.clone()]);
        let found = credentials.login(registry, "x").expect("a look");
        assert_eq!(found, Some(password("new", "new")), "{registry}");
    }
    let credentials = Credentials::from_files(vec![path]);
    let found = credentials.login("a.example", "team/x").expect("a look");
    assert_eq!(found, Some(password("old", "old")));
}

#[test]
fn every_key_that_is_read_is_known_in_its_one_spelling() {
    json::knows_all_of::<Config>(&CONFIG);
    json::knows_all_of::<Auth>(&AUTH);
}

#[test]
fn of_logins_at_the_same_time_none_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    // By a link, as in collections of settings.
    let (path, link) = ["own/config.json", "link.json"]
        .map(|name| directory.path().join(name))
        .into();
    remember(&path, "first.example", &password("me", "first")).expect("remembered");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let (path, link) = (&path, &link);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || {
                let path = if thread % 2 == 0 { path } else { link };
                for at in 0..20 {
                    let [kept, gone] = ["kept", "gone"].map(|what| format!("{what}-{thread}-{at}"));
                    for registry in [&kept, &gone] {
                        remember(path, registry, &password("me", registry)).expect("remembered");
                    }
                    assert!(forget(path, &gone).expect("forgotten"), "{gone}");
                }
            });
        }
    });
    let value: Value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    let auths = value["auths"].as_object().expect("logins");
    assert_eq!(auths.len(), 6 * 20 + 1);
    assert!(auths.keys().all(|registry| !registry.starts_with("gone")));
    let left = fs::read_dir(path.parent().expect("a directory")).expect("names");
    assert_eq!(left.count(), 1);
}

#[test]
fn a_lock_that_a_killed_process_left_is_nobodys() {
    let (directory, path) = file("{}");
    fs::write(directory.path().join("config.json.lock"), "").expect("a lock");
    remember(&path, "a.example", &password("me", "x")).expect("remembered");
    assert!(forget(&path, "a.example").expect("forgotten"));
}
