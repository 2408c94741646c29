//! Docker's file of credentials: read, and changed.
#![no_main]

use image::{Credentials, Error, Login, forget, remember};

/// Before the first run, and before there is a second thread: no file may name a program that is then found.
fn no_programs() {
    // SAFETY: libFuzzer calls this from its main function, before it makes a thread, so nobody reads the environment
    // at the same time.
    unsafe { std::env::set_var("PATH", "/nonexistent") };
}

libfuzzer_sys::fuzz_target!(init: no_programs(), |bytes: &[u8]| {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.json");
    std::fs::write(&path, bytes).expect("a file");
    let credentials = Credentials::from_files(vec![path.clone()]);
    for (registry, repository) in [("docker.io", "a/b"), ("a.example", "x/y"), ("b.example", "x")] {
        let _ = credentials.login(registry, repository);
    }
    let login = Login::Identity("token".to_owned());
    match remember(&path, "a.example", &login) {
        // Nothing of the file stands above what was remembered for the registry as a whole.
        Ok(()) => {
            let found = credentials.login("a.example", "").expect("what was written");
            assert_eq!(found, Some(login));
            assert!(forget(&path, "a.example").expect("what was written"));
            assert!(!forget(&path, "a.example").expect("what was written"));
        }
        Err(error) => assert!(!matches!(error, Error::Call { .. }), "{error}"),
    }
    assert_eq!(fuzz::names(directory.path()), ["config.json"]);
});
