//! Names that are good, and names that are refused.

use proptest::prelude::*;

use super::*;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[track_caller]
fn means(text: &str, full: &str, familiar: &str) {
    let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(reference.to_string(), full, "{text}");
    assert_eq!(reference.familiar(), familiar, "{text}");
    let again: Reference = full.parse().expect("the full name");
    assert_eq!(again, reference, "{text}");
    assert_eq!(
        familiar.parse::<Reference>().expect("the familiar name"),
        reference,
        "{text}"
    );
}

#[test]
fn names_are_completed_as_users_of_docker_expect() {
    means("nginx", "docker.io/library/nginx:latest", "nginx:latest");
    means("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27");
    means(
        "docker.io/nginx",
        "docker.io/library/nginx:latest",
        "nginx:latest",
    );
    means(
        "index.docker.io/nginx",
        "docker.io/library/nginx:latest",
        "nginx:latest",
    );
    means(
        "grafana/grafana",
        "docker.io/grafana/grafana:latest",
        "grafana/grafana:latest",
    );
    means(
        "a.b/c/d__e/f-g:V1",
        "a.b/c/d__e/f-g:V1",
        "a.b/c/d__e/f-g:V1",
    );
    means("localhost/x", "localhost/x:latest", "localhost/x:latest");
    means(
        "localhost:5000/x",
        "localhost:5000/x:latest",
        "localhost:5000/x:latest",
    );
    means("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y");
    means("[fe80::1]/x", "[fe80::1]/x:latest", "[fe80::1]/x:latest");
    means(
        "127.0.0.1:1/x",
        "127.0.0.1:1/x:latest",
        "127.0.0.1:1/x:latest",
    );
    means(
        "Registry.Example/x",
        "registry.example/x:latest",
        "registry.example/x:latest",
    );
}

#[test]
fn a_digest_needs_no_tag_and_wins_over_one() {
    let text = format!("nginx@sha256:{HEX}");
    let reference: Reference = text.parse().expect("a reference");
    assert_eq!(reference.tag(), None);
    assert_eq!(reference.selector(), format!("sha256:{HEX}"));
    let both: Reference = format!("nginx:1@sha256:{HEX}")
        .parse()
        .expect("a reference");
    assert_eq!(both.tag(), Some("1"));
    assert_eq!(both.selector(), format!("sha256:{HEX}"));
}

#[test]
fn hostile_names_are_refused_with_the_rule() {
    let long = "a".repeat(5000);
    let path = "a/".repeat(130) + "b";
    for (text, why) in [
        ("", "no path"),
        ("a:b:c", "a part of a path"),
        ("@sha256:..", "64 hexadecimal"),
        (&format!("@sha256:{HEX}"), "no path"),
        ("nginx@", "no algorithm"),
        ("nginx@latest", "no algorithm"),
        (&format!("nginx@md5:{HEX}"), "neither"),
        (&long, "longer than any name"),
        (&path, "more than 255"),
        ("localhost:99999/x", "1 to 65535"),
        ("localhost:0/x", "1 to 65535"),
        ("localhost:+1/x", "1 to 65535"),
        ("localhost:/x", "1 to 65535"),
        ("bücher.de/x", "a host is made of"),
        ("büch", "a part of a path"),
        ("-x", "a part of a path"),
        ("--help", "a part of a path"),
        ("x-", "a part of a path"),
        ("x..y", "a part of a path"),
        ("x___y", "a part of a path"),
        ("..", "a part of a path"),
        ("../x", "a host is made of"),
        ("a/../b", "a part of a path"),
        ("/x", "a part of a path"),
        ("a//b", "a part of a path"),
        ("a.b/", "no path"),
        ("nginx:", "a tag has"),
        ("nginx:.x", "a tag has"),
        ("nginx:-x", "a tag has"),
        ("nginx:a b", "a tag has"),
        ("nginx\n", "a part of a path"),
        ("nginx\0", "a part of a path"),
        ("Nginx", "lower case"),
        ("a.b/Nginx", "lower case"),
        ("https://a.b/x", "no scheme"),
        ("[::1/x", "not closed"),
        ("[::g]/x", "no IPv6"),
        ("[::1]5/x", "a port or nothing"),
        ("user@a.b/x", "no algorithm"),
        ("a.-b/x", "a host is made of"),
        (HEX, "an id"),
    ] {
        let error = text.parse::<Reference>().expect_err(text).to_string();
        assert!(error.contains(why), "{text:?}: {error}");
        assert!(error.len() < 400, "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_safe_in_an_address_and_means_itself(text in "\\PC{0,60}|[a-z0-9:/.@_\\[\\]-]{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let full = reference.to_string();
            prop_assert_eq!(&full.parse::<Reference>().expect("itself"), &reference);
            prop_assert!(!reference.repository().split('/').any(|part| part == ".." || part.is_empty()));
            prop_assert!(full.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte)));
        }
    }
}

#[test]
fn the_familiar_spelling_means_the_same() {
    let digits = "0".repeat(64);
    for text in [
        "docker.io/a.b/c",
        "docker.io/localhost/c",
        &format!("docker.io/library/{digits}"),
        "docker.io/library/a.b",
        "docker.io/library/a/b",
        "a.example/b",
    ] {
        let reference: Reference = text.parse().expect("a name");
        let familiar = reference.familiar();
        let again = familiar.parse::<Reference>().expect("a name");
        assert_eq!(again, reference, "{familiar}");
    }
    let short: Reference = "docker.io/library/a.b".parse().expect("a name");
    assert_eq!(short.familiar(), "a.b:latest");
}
