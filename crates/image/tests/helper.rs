//! Credential helpers: real programs in a `PATH` of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use image::{Credentials, Error, Login, forget, remember};

/// Keeps one secret in a file beside itself.
const HELPER: &str = r#"#!/bin/sh
kept="$(dirname "$0")/kept"
case "$1" in
store) cat > "$kept" ;;
get) if [ -f "$kept" ]; then cat "$kept"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm "$kept" ;;
esac
"#;
const BROKEN: &str = "#!/bin/sh\necho 'the key ring is locked'; exit 1\n";
const TOKEN: &str = "#!/bin/sh\nprintf '{\"Username\":\"<token>\",\"Secret\":\"identity\"}'\n";
/// Leaves something behind that holds its standard output.
const AGENT: &str =
    "#!/bin/sh\nsleep 100 &\nprintf '{\"Username\":\"<token>\",\"Secret\":\"identity\"}'\n";

fn program(directory: &Path, name: &str, text: &str) {
    let path = directory.join(format!("docker-credential-{name}"));
    fs::write(&path, text).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Runs the test again in a process that finds the helpers; `true` in that process.
fn with_helpers(test: &str) -> bool {
    const MARK: &str = "HELPERS_ARE_THERE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("keeper", HELPER),
        ("broken", BROKEN),
        ("token", TOKEN),
        ("agent", AGENT),
    ] {
        program(directory.path(), name, text);
    }
    let path = std::env::var("PATH").expect("a PATH");
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .env("PATH", format!("{}:{path}", directory.path().display()))
        .status()
        .expect("the test");
    assert!(status.success());
    false
}

#[test]
fn a_helper_keeps_what_the_file_then_does_not() {
    if !with_helpers("a_helper_keeps_what_the_file_then_does_not") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    fs::write(&file, r#"{"credsStore":"keeper"}"#).expect("a file");
    let credentials = Credentials::from_files(vec![file.clone()]);
    assert_eq!(credentials.login("a.example", "x").expect("a look"), None);
    let login = Login::Password {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    };
    remember(&file, "a.example", &login).expect("remembered");
    let text = fs::read_to_string(&file).expect("the file");
    assert!(
        text.contains("a.example") && !text.contains("auth\":"),
        "{text}"
    );
    assert_eq!(
        credentials.login("a.example", "x").expect("a look"),
        Some(login)
    );
    assert!(forget(&file, "a.example").expect("forgotten"));
    assert_eq!(credentials.login("a.example", "x").expect("a look"), None);
}

#[test]
fn a_helper_that_fails_is_an_error_and_a_token_is_a_token() {
    if !with_helpers("a_helper_that_fails_is_an_error_and_a_token_is_a_token") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let text = r#"{"credHelpers":{"a.example":"broken","b.example":"token"}}"#;
    fs::write(&file, text).expect("a file");
    let credentials = Credentials::from_files(vec![file]);
    let error = credentials.login("a.example", "x").expect_err("locked");
    assert!(
        matches!(error, Error::Helper { action: "get", .. }),
        "{error}"
    );
    let said = "docker-credential-broken get: said \"the key ring is locked\"";
    assert_eq!(error.to_string(), said);
    let token = credentials.login("b.example", "x").expect("a token");
    assert_eq!(token, Some(Login::Identity("identity".to_owned())));
}

#[test]
fn an_agent_that_a_helper_leaves_behind_is_not_waited_for() {
    if !with_helpers("an_agent_that_a_helper_leaves_behind_is_not_waited_for") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    fs::write(&file, r#"{"credsStore":"agent"}"#).expect("a file");
    let begun = Instant::now();
    let login = Credentials::from_files(vec![file]).login("a.example", "x");
    assert_eq!(
        login.expect("a token"),
        Some(Login::Identity("identity".to_owned()))
    );
    assert!(
        begun.elapsed() < Duration::from_secs(50),
        "{:?}",
        begun.elapsed()
    );
}
