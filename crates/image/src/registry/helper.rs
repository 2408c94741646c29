//! Programs that keep secrets, by the [docker-credential-helpers] protocol: a verb as argument, JSON or a
//! server's name on standard input, JSON on standard output.
//!
//! [docker-credential-helpers]: https://github.com/docker/docker-credential-helpers

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::credentials::Login;
use crate::error::{Error, shown};

/// A helper may ask the user for the password of a key ring.
const PATIENCE: Duration = Duration::from_secs(120);
/// After its end, for what it has written already.
const AFTER: Duration = Duration::from_secs(1);
const MAX_ANSWER: u64 = 64 * 1024;
/// The user's name that says: the secret is a token.
const TOKEN: &str = "<token>";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

pub(super) fn get(helper: &str, server: &str) -> Result<Option<Login>, Error> {
    let (well, answer) = run(helper, "get", server.as_bytes())?;
    if !well {
        // The protocol has no other way to say it.
        return match answer.contains("credentials not found") {
            true => Ok(None),
            false => Err(refuse(
                helper,
                "get",
                &format!("said {:?}", shown(answer.trim())),
            )),
        };
    }
    let secret: Secret = serde_json::from_str(&answer)
        .ok()
        .ok_or_else(|| refuse(helper, "get", "gave no JSON with Username and Secret"))?;
    Ok(Some(match secret.username.as_str() {
        TOKEN => Login::Identity(secret.secret),
        _ => Login::Password {
            user: secret.username,
            password: secret.secret,
        },
    }))
}

pub(super) fn store(helper: &str, server: &str, login: &Login) -> Result<(), Error> {
    let (username, secret) = match login {
        Login::Password { user, password } => (user.clone(), password.clone()),
        Login::Identity(token) => (TOKEN.to_owned(), token.clone()),
    };
    let secret = Secret {
        server: server.to_owned(),
        username,
        secret,
    };
    let json = serde_json::to_vec(&secret).map_err(|source| Error::Json {
        what: "a secret".to_owned(),
        source,
    })?;
    match run(helper, "store", &json)? {
        (true, _) => Ok(()),
        (false, answer) => Err(refuse(
            helper,
            "store",
            &format!("said {:?}", shown(answer.trim())),
        )),
    }
}

/// `false` if there was nothing to erase.
pub(super) fn erase(helper: &str, server: &str) -> Result<bool, Error> {
    match run(helper, "erase", server.as_bytes())? {
        (true, _) => Ok(true),
        (false, answer) if answer.contains("credentials not found") => Ok(false),
        (false, answer) => Err(refuse(
            helper,
            "erase",
            &format!("said {:?}", shown(answer.trim())),
        )),
    }
}

fn refuse(helper: &str, action: &'static str, why: &str) -> Error {
    Error::Helper {
        program: program(helper),
        action,
        why: why.to_owned(),
    }
}

fn program(helper: &str) -> String {
    format!("docker-credential-{}", shown(helper))
}

/// Runs a helper: whether it ended well, and what it wrote.
fn run(helper: &str, action: &'static str, input: &[u8]) -> Result<(bool, String), Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if helper.len() > 64 || !helper.bytes().all(is_plain) {
        return Err(refuse(helper, action, "is no name of a helper"));
    }
    let failed = |error: std::io::Error| refuse(helper, action, &error.to_string());
    let mut child = Command::new(program(helper))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    let (sender, pieces) = channel();
    // Reads beside us, because a helper may answer before it has read all.
    thread::spawn(move || {
        let mut rest = stdout.map(|stdout| stdout.take(MAX_ANSWER));
        let mut piece = vec![0; 4096];
        while let Some(Ok(count @ 1..)) = rest.as_mut().map(|rest| rest.read(&mut piece)) {
            if sender.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing has its reasons; what it answers tells.
        let _ = stdin.write_all(input);
    }
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(refuse(helper, action, "gave no answer within two minutes"));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut answer = Vec::new();
    // All that it wrote is in the pipe, but an agent that it started may hold that open for ever.
    while let Ok(piece) = pieces.recv_timeout(AFTER) {
        answer.extend(piece);
    }
    let text = String::from_utf8(answer)
        .ok()
        .ok_or_else(|| refuse(helper, action, "gave an answer that is not UTF-8"))?;
    Ok((status.success(), text))
}
