//! Changes of a configuration, in the words of a [Dockerfile], as `docker import --change` and `docker commit
//! --change` take them.
//!
//! [Dockerfile]: https://docs.docker.com/reference/dockerfile/

use serde_json::{Map, Value, json};

use crate::config::Port;
use crate::error::{Error, shown};

/// Ports of one range.
const MAX_PORTS: usize = 4096;

/// One change. What it holds is checked where the configuration that it leads to is.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The arguments, or the program where there is no entrypoint.
    Cmd(Vec<String>),
    /// The program and its first arguments. A `Cmd` that is not among the same changes goes with the old one.
    Entrypoint(Vec<String>),
    /// A variable and its value.
    Env(String, String),
    /// A port that the program listens on.
    Expose(Port),
    /// A label and its value.
    Label(String, String),
    /// The signal that ends the program.
    StopSignal(String),
    /// Who runs it: `user`, `user:group`, by name or number.
    User(String),
    /// A directory that outlives a container.
    Volume(String),
    /// Where the program starts. One that is not absolute is below the one before.
    WorkingDir(String),
}

impl Change {
    /// Reads `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `LABEL`, `STOPSIGNAL`, `USER`, `VOLUME` or `WORKDIR` with what
    /// follows it. A command that is no list in JSON is run by `/bin/sh -c`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: another instruction, or one that is spelled wrongly. Variables are not expanded; a `$` that
    /// would ask for that is refused.
    pub fn parse(instruction: &str) -> Result<Vec<Self>, Error> {
        let text = instruction.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let one = |key, make: fn(String) -> Self| match &words(key, rest)?[..] {
            [word] => Ok(vec![make(word.clone())]),
            _ => Err(refuse(key, rest, "it takes one word")),
        };
        let pairs = |key, make: fn(String, String) -> Self| {
            let pairs = pairs(key, rest)?.into_iter();
            Ok(pairs.map(|(name, value)| make(name, value)).collect())
        };
        match word.to_ascii_uppercase().as_str() {
            "CMD" => Ok(vec![Self::Cmd(command("Cmd", rest)?)]),
            "ENTRYPOINT" => Ok(vec![Self::Entrypoint(command("Entrypoint", rest)?)]),
            "ENV" => pairs("Env", Self::Env),
            "LABEL" => pairs("Labels", Self::Label),
            "EXPOSE" => expose(rest),
            "STOPSIGNAL" => one("StopSignal", Self::StopSignal),
            "USER" => one("User", Self::User),
            "WORKDIR" => one("WorkingDir", Self::WorkingDir),
            "VOLUME" => {
                let list = match list("Volumes", rest)? {
                    Some(list) => list,
                    None => words("Volumes", rest)?,
                };
                match list.is_empty() {
                    false => Ok(list.into_iter().map(Self::Volume).collect()),
                    true => Err(refuse("Volumes", rest, "it takes at least one directory")),
                }
            }
            _ => Err(refuse(
                "change",
                text,
                "it is CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR",
            )),
        }
    }
}

fn refuse(key: &'static str, value: &str, why: &'static str) -> Error {
    Error::Config {
        key,
        value: shown(value),
        why,
    }
}

/// A list in JSON, if it is meant to be one: `[ -f x ]` is a line for a shell.
fn list(key: &'static str, text: &str) -> Result<Option<Vec<String>>, Error> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(None);
    };
    match serde_json::from_str(text) {
        Ok(list) => Ok(Some(list)),
        Err(_) if !inner.trim_start().starts_with(['"', '\'']) => Ok(None),
        Err(_) => Err(refuse(key, text, "is no list in JSON: [\"a\", \"b\"]")),
    }
}

fn command(key: &'static str, text: &str) -> Result<Vec<String>, Error> {
    match list(key, text)? {
        Some(list) => Ok(list),
        None if text.is_empty() => Err(refuse(key, text, "it takes a command; none is []")),
        None => Ok(["/bin/sh", "-c", text].map(str::to_owned).to_vec()),
    }
}

/// `NAME=VALUE …`, or `NAME` and the rest of the line.
fn pairs(key: &'static str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let missing = "it takes NAME=VALUE";
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| refuse(key, text, missing))?;
        return match &words(key, value)?[..] {
            [] => Err(refuse(key, text, missing)),
            all => Ok(vec![(name.to_owned(), all.join(" "))]),
        };
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(refuse(key, word, missing)),
    };
    words(key, text)?.iter().map(pair).collect()
}

/// Words with quotes and backslashes as a Dockerfile has them.
fn words(key: &'static str, text: &str) -> Result<Vec<String>, Error> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            // Within double quotes it stands for itself, but before these three.
            ('\\', None) => match letters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err(refuse(key, text, "ends with a backslash")),
            },
            ('\\', Some('"')) => {
                let next = letters.next_if(|next| matches!(next, '"' | '$' | '\\'));
                word.get_or_insert_default().push(next.unwrap_or('\\'));
            }
            ('$', None | Some('"')) => {
                return Err(refuse(
                    key,
                    text,
                    "variables are not expanded; a dollar sign is \\$",
                ));
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(refuse(key, text, "a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn expose(text: &str) -> Result<Vec<Change>, Error> {
    const KEY: &str = "ExposedPorts";
    let words = words(KEY, text)?;
    if words.is_empty() {
        return Err(refuse(KEY, text, "it takes at least one port"));
    }
    let mut ports = Vec::new();
    for word in &words {
        let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            _ => return Err(refuse(KEY, word, "the protocol is tcp, udp or sctp")),
        };
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u16>().ok();
            number
                .filter(|number| digits && *number > 0)
                .ok_or_else(|| refuse(KEY, word, "a port is a number from 1 to 65535"))
        };
        let range = number(from)?..=number(to)?;
        if range.is_empty() {
            return Err(refuse(KEY, word, "the range ends before it begins"));
        }
        ports.extend(range.map(|number| Change::Expose(Port { number, protocol })));
        if ports.len() > MAX_PORTS {
            return Err(refuse(KEY, word, "more than 4096 ports"));
        }
    }
    Ok(ports)
}

/// Carries changes out on the `config` of an image's configuration. Keys of nobody's change stay as they are.
pub(super) fn apply(config: &mut Map<String, Value>, changes: &[Change]) {
    let has_cmd = changes
        .iter()
        .any(|change| matches!(change, Change::Cmd(_)));
    for change in changes {
        match change {
            Change::Cmd(list) => set(config, "Cmd", json!(list)),
            Change::Entrypoint(list) => {
                set(config, "Entrypoint", json!(list));
                if !has_cmd {
                    config.remove("Cmd");
                }
            }
            Change::Env(name, value) => env(config, name, value),
            Change::Expose(port) => {
                let key = format!("{}/{}", port.number, port.protocol);
                put(config, "ExposedPorts", key, json!({}));
            }
            Change::Label(name, value) => put(config, "Labels", name.clone(), json!(value)),
            Change::StopSignal(signal) => set(config, "StopSignal", json!(signal)),
            Change::User(user) => set(config, "User", json!(user)),
            Change::Volume(path) => put(config, "Volumes", path.clone(), json!({})),
            Change::WorkingDir(path) => {
                let before = config.get("WorkingDir").and_then(Value::as_str);
                let path = match path.starts_with('/') {
                    true => path.clone(),
                    false => format!(
                        "{}/{path}",
                        before.unwrap_or_default().trim_end_matches('/')
                    ),
                };
                set(config, "WorkingDir", json!(path));
            }
        }
    }
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// Into an object that may be missing or null.
fn put(config: &mut Map<String, Value>, key: &str, name: String, value: Value) {
    let place = config.entry(key).or_insert(Value::Null);
    match place {
        Value::Object(map) => {
            map.insert(name, value);
        }
        _ => *place = json!({ name: value }),
    }
}

/// A variable keeps its place among the others.
fn env(config: &mut Map<String, Value>, name: &str, value: &str) {
    let text = json!(format!("{name}={value}"));
    let place = config.entry("Env").or_insert(Value::Null);
    let Value::Array(list) = place else {
        *place = json!([text]);
        return;
    };
    let is_it = |one: &&mut Value| {
        let rest = one.as_str().and_then(|one| one.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('='))
    };
    match list.iter_mut().find(is_it) {
        Some(one) => *one = text,
        None => list.push(text),
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
