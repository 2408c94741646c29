//! Keys about the program: `command`, `args`, `user`, `workdir`, `env`, `tty`.

use super::host::Host;
use super::keys;
use super::model::{Given, Process};
use super::value::{name, path, user};
use super::walk::{Reader, Rule, Section, Value};
use crate::diagnostic::{Code, quoted};

/// One argument or variable, execve(2): MAX_ARG_STRLEN.
pub(super) const ONE_STRING: usize = 128 << 10;

/// All of them together: ARG_MAX of a process with the usual 8 MiB of stack.
pub(super) const ARG_MAX: usize = 2 << 20;

/// Read them; `None` when there is no command.
pub(super) fn read(top: &Section<'_, '_>, host: &Host<'_>, optional: bool) -> Option<Process> {
    let r = top.r;
    let command = command(top, optional);
    let args = top.get("args").and_then(|v| {
        let words = strings(r, &v, "an array of strings like [\"--port\", \"80\"]")?;
        Some(Given::new(words, v.span()))
    });
    let user = top
        .get("user")
        .and_then(|v| v.parse(r, "a string like \"nginx\" or \"1000:1000\"", user::user));
    let workdir = top
        .get("workdir")
        .and_then(|v| v.parse(r, "a string like \"/srv\"", path::workdir));
    let env = top.get("env").map(|v| env(r, &v, host)).unwrap_or_default();
    let tty = top
        .get("tty")
        .and_then(|v| v.bool(r))
        .unwrap_or_else(|| Given::default_of(false));
    if !optional {
        command.as_ref()?;
    }
    let process = Process {
        command,
        args,
        user,
        workdir,
        env,
        tty,
    };
    check_size(r, &process);
    Some(process)
}

fn command(top: &Section<'_, '_>, optional: bool) -> Option<Given<Vec<String>>> {
    let like = "an array of strings like [\"sh\", \"-c\", \"echo hello\"]";
    let value = if optional {
        top.get("command")?
    } else {
        let rule = Rule::from("with `rootfs` there is no default to run")
            .help("command = [\"program\", \"argument\"]");
        top.require("command", rule)?
    };
    if let Some(text) = value.as_str() {
        let help = format!("no shell splits it: command = [\"sh\", \"-c\", {text:?}]");
        value.wrong_type(top.r, like, Some(help));
        return None;
    }
    let words = strings(top.r, &value, like)?;
    match words.first() {
        None => value.bad(top.r, "names no program"),
        Some(program) if program.is_empty() => value.bad(top.r, "the program's name is empty"),
        Some(_) => return Some(Given::new(words, value.span())),
    }
    None
}

fn strings(r: &Reader, value: &Value<'_>, like: &str) -> Option<Vec<String>> {
    let words = value.strings(r, like)?;
    for word in words.iter().filter(|w| w.value.len() >= ONE_STRING) {
        r.error(
            "an argument is too long".into(),
            word.place(),
            "the kernel takes at most 128 KiB each",
        );
    }
    Some(words.into_iter().map(|w| w.value.to_owned()).collect())
}

fn env(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Vec<Given<(String, String)>> {
    let like = "a table like { TZ = \"UTC\" }";
    let mut found = Vec::new();
    for entry in value.entries(r, &keys::ENV_VALUE, like).unwrap_or_default() {
        if let Err(rule) = name::variable(entry.key()) {
            let message = format!("bad variable {}", quoted(entry.key()));
            r.error(message, entry.key_span(), rule);
            continue;
        }
        let Some(value) = variable(r, &entry, host) else {
            continue;
        };
        if entry.key().len() + value.value.len() + 2 > ONE_STRING {
            entry.bad(r, "the kernel takes at most 128 KiB for a variable");
        }
        found.push(value.map(|text| (entry.key().to_owned(), text)));
    }
    found
}

/// A literal, or a variable of the host by name.
fn variable(r: &Reader, entry: &Value<'_>, host: &Host<'_>) -> Option<Given<String>> {
    let like = "a string, or a table like { host = \"HOME\" }";
    if !entry.is_table() {
        return entry.string(r, like).map(|text| text.map(str::to_owned));
    }
    let table = Section::open(r, &keys::ENV_VALUE, entry, like)?;
    let value = match table.get("host") {
        Some(value) => value,
        // What is there instead was reported already.
        None if !table.is_empty() => return None,
        None => {
            entry.bad(r, "names no variable of the host: { host = \"NAME\" }");
            return None;
        }
    };
    value.parse(r, "a string", |name| {
        name::variable(name)?;
        match (host.options.variable)(name).map(|text| text.into_string()) {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err("the host's variable is not UTF-8".into()),
            None => Err(Rule::from("the host has no such variable").code(Code::NotFound)),
        }
    })
}

fn check_size(r: &Reader, process: &Process) {
    let env = process
        .env
        .iter()
        .map(|v| v.value.0.len() + v.value.1.len() + 1);
    let given = [&process.command, &process.args].map(Option::as_ref);
    let mut argv = given.into_iter().flatten().flat_map(|words| &words.value);
    let bytes = size(&mut argv, env);
    if bytes > ARG_MAX {
        let rule = format!("{bytes} bytes with the environment; ARG_MAX is {ARG_MAX}");
        r.error(
            "the command line is too long".into(),
            given[0].or(given[1]).map_or(0..0, Given::place),
            rule,
        );
    }
}

/// What execve(2) counts: the strings, their ends, and a pointer for each.
pub(super) fn size(
    argv: &mut dyn Iterator<Item = &String>,
    env: impl Iterator<Item = usize>,
) -> usize {
    argv.map(String::len)
        .chain(env)
        .map(|length| length + 1 + 8)
        .sum()
}
