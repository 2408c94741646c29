//! `ctr login` and `ctr logout`: proofs of identity for registries, in the files of Docker and podman.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use image::{Credentials, Login as Proof, Registry, Settings};

use super::image::said;
use crate::exit::{self, CommandResult};
use crate::images::{Problem, login_file, login_files, settings};
use crate::output;

/// More than this is no password.
const MAX: u64 = 64 << 10;

/// Arguments of `ctr login`.
#[derive(Debug, clap::Args)]
pub struct Login {
    /// The registry
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    registry: String,
    /// Who; asked for when it is left out
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Arguments of `ctr logout`.
#[derive(Debug, clap::Args)]
pub struct Logout {
    /// The registry
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    registry: String,
}

pub(super) fn login(args: &Login) -> CommandResult {
    match kept(args) {
        Ok(text) => {
            output::stdout(&text)?;
            Ok(exit::SUCCESS)
        }
        Err(problem) => Ok(said(&problem)),
    }
}

/// A proof is kept when the registry has taken it.
fn kept(args: &Login) -> Result<String, Problem> {
    let registry = name(&args.registry);
    let file = login_file().ok_or(Problem::NoHome)?;
    let user = match &args.username {
        Some(user) => user.clone(),
        None => asked()?,
    };
    let password = password(args.password_stdin)?;
    let proof = Proof::Password { user, password };
    let settings = Settings {
        credentials: Credentials::from_files(Vec::new()).with(&registry, proof.clone()),
        ..settings()?
    };
    Registry::new(settings)?.check(&registry)?;
    image::remember(&file, &registry, &proof)?;
    let mut text = format!("logged in to {registry}, kept in {}\n", file.display());
    // Another program's file may be read first.
    if Credentials::from_environment().login(&registry, "")? != Some(proof) {
        text.push_str("another login for it goes before this one: `ctr logout`, then again\n");
    }
    Ok(text)
}

/// As files call it: Docker Hub has several names.
fn name(registry: &str) -> String {
    let plain = registry
        .trim_start_matches("https://")
        .trim_end_matches('/');
    match plain {
        "index.docker.io" | "index.docker.io/v1" | "registry-1.docker.io" => "docker.io".into(),
        other => other.into(),
    }
}

fn input(source: io::Error) -> Problem {
    Problem::Settings {
        path: "/dev/stdin".into(),
        source: Box::new(source),
    }
}

fn asked() -> Result<String, Problem> {
    if !io::stdin().is_terminal() {
        return Err(Problem::NoUser);
    }
    let mut stderr = io::stderr();
    write!(stderr, "user: ")
        .and_then(|()| stderr.flush())
        .map_err(input)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(input)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn password(from_stdin: bool) -> Result<String, Problem> {
    if !from_stdin {
        // From the terminal, without showing it.
        return rpassword::prompt_password("password: ").map_err(input);
    }
    let mut text = String::new();
    let read = io::stdin().take(MAX).read_to_string(&mut text);
    read.map_err(input)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

pub(super) fn logout(args: &Logout) -> CommandResult {
    let registry = name(&args.registry);
    let mut found = false;
    for file in login_files() {
        match image::forget(&file, &registry) {
            Ok(here) => found |= here,
            Err(error) => return Ok(said(&error.into())),
        }
    }
    output::stdout(&match found {
        true => format!("logged out of {registry}\n"),
        false => format!("there was no login for {registry}\n"),
    })?;
    Ok(exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_one_name() {
        for hub in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
        ] {
            assert_eq!(name(hub), "docker.io", "{hub}");
        }
        assert_eq!(name("https://registry.lan:5000/"), "registry.lan:5000");
    }
}
