//! What is executed: argv, the environment, and the paths execve(2) is tried with.

use std::ffi::CString;

use crate::error::Diagnostic;
use crate::spec::{At, Origin, Spec};
use crate::users::Credentials;

/// A program, ready for execve(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Paths in the container, tried in order as execvp(3) does.
    pub candidates: Vec<CString>,
    /// argv.
    pub argv: Vec<CString>,
    /// The environment.
    pub envp: Vec<CString>,
    /// Where `command` stands.
    pub origin: Origin,
}

pub(super) fn resolve(spec: &Spec, user: &Credentials) -> Result<Exec, Diagnostic> {
    let At {
        value: argv,
        origin,
    } = &spec.process.argv;
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(Diagnostic::input(*origin, "`command` names no program"));
    };
    let argv_c = argv
        .iter()
        .map(|arg| c_string(arg, *origin, "an argument of `command`"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut envp = Vec::with_capacity(spec.process.env.len() + 1);
    for At {
        value: (name, value),
        origin,
    } in &spec.process.env
    {
        envp.push(c_string(
            &format!("{name}={value}"),
            *origin,
            &format!("env `{name}`"),
        )?);
    }
    if !has(spec, "HOME") {
        let home = user
            .home
            .as_deref()
            .unwrap_or(if user.uid == 0 { "/root" } else { "/" });
        envp.push(c_string(&format!("HOME={home}"), Origin::Default, "HOME")?);
    }
    let candidates = search(program, path(spec))
        .map(|candidate| c_string(&candidate, *origin, "`command`"))
        .collect::<Result<_, _>>()?;
    Ok(Exec {
        candidates,
        argv: argv_c,
        envp,
        origin: *origin,
    })
}

fn has(spec: &Spec, name: &str) -> bool {
    spec.process.env.iter().any(|env| env.value.0 == name)
}

/// PATH of the container, empty when it has none.
#[must_use]
pub fn path(spec: &Spec) -> &str {
    let path = spec
        .process
        .env
        .iter()
        .rev()
        .find(|env| env.value.0 == "PATH");
    path.map_or("", |env| &env.value.1)
}

/// As execvp(3): a name with a slash is a path, any other is looked for in each directory of PATH.
fn search<'a>(program: &'a str, path: &'a str) -> Box<dyn Iterator<Item = String> + 'a> {
    if program.contains('/') {
        return Box::new(std::iter::once(program.to_owned()));
    }
    Box::new(
        path.split(':')
            .map(move |dir| match dir.trim_end_matches('/') {
                // An empty element is the working directory, as POSIX has it.
                "" if dir.is_empty() => format!("./{program}"),
                dir => format!("{dir}/{program}"),
            }),
    )
}

fn c_string(text: &str, origin: Origin, what: &str) -> Result<CString, Diagnostic> {
    CString::new(text).map_err(|nul| {
        Diagnostic::input(
            origin,
            format!("{what} holds a NUL byte at {}", nul.nul_position()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(program: &str, path: &str) -> Vec<String> {
        search(program, path).collect()
    }

    #[test]
    fn a_name_is_looked_for_in_every_directory_of_path() {
        assert_eq!(tried("sh", "/usr/bin:/bin/"), ["/usr/bin/sh", "/bin/sh"]);
        assert_eq!(tried("sh", "/:"), ["/sh", "./sh"]);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(tried("./run", "/bin"), ["./run"]);
        assert_eq!(tried("/opt/run", "/bin"), ["/opt/run"]);
    }
}
