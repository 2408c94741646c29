//! `cargo xtask bench`: what starting a container costs, beside the limit and the other engines.
//!
//! All programs start `/bin/true` (our own, without a C library) from the same directory, in the same
//! kinds of namespaces, in one private set of mount, network and pid namespaces, taking turns. What
//! differs between them is written down in [`programs`]; the numbers are taken by `stopwatch`.
//!
//! Needs root, unshare(1), ip(8), and the Debian packages crun, runc and bubblewrap. What is missing is an
//! error, after what is there has been measured.

mod oci;
mod programs;
mod result;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use programs::Program;
use result::Outcome;

use crate::cmd;
use crate::failure::Failure;
use crate::workspace::{self, Workspace};

/// Measure what a start costs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of each program that count
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(100..))]
    runs: u32,
    /// Runs of each program before those
    #[arg(long, default_value_t = 15)]
    warm_up: u32,
    /// Print JSON instead of the table (target/bench/result.json is written in any case)
    #[arg(long)]
    json: bool,
    /// End with status 1 when a requirement is missed
    #[arg(long)]
    check: bool,
}

/// Mounts the private cgroup2, /run and /var/lib (networks are kept there), brings `lo` up, runs "$@", and
/// takes away the cgroups that were made by it: in a mount namespace of its own, but cgroups are the
/// machine's.
const INSIDE: &str = r#"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
ip link set lo up
before=$(echo /sys/fs/cgroup/*/)
status=0
"$@" || status=$?
for group in /sys/fs/cgroup/*/; do
    case " $before " in
        *" $group "*) ;;
        *) find "$group" -depth -type d -exec rmdir {} + || status=70 ;;
    esac
done
exit $status
"#;

/// Run the bench.
///
/// # Errors
///
/// What could not be built, prepared or measured; [`Failure::Tests`] when a program is missing or, with
/// `--check`, a requirement is not met.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "bench needs root: it measures what root starts"
    );
    let mut warnings: Vec<String> = idle()?.into_iter().collect();
    let built = build()?;
    let place = prepare(&built)?;
    let (present, missing): (Vec<_>, Vec<_>) = programs::all(&built, &place)
        .into_iter()
        .map(|program| (try_once(&program), program))
        .partition(|(result, _)| result.is_ok());
    for (result, program) in &missing {
        if let Err(error) = result {
            warnings.push(format!("{} cannot be measured: {error:#}", program.name));
        }
    }
    let present: Vec<Program> = present.into_iter().map(|(_, program)| program).collect();
    let laps = measure(&built.stopwatch, &present, args)?;
    let outcome = Outcome::new(&present, &laps, warnings)?;
    let json = serde_json::to_string_pretty(&outcome)?;
    let path = place.join("result.json");
    std::fs::write(&path, &json).with_context(|| format!("write {}", path.display()))?;
    println!(
        "{}",
        if args.json {
            json
        } else {
            table::render(&outcome)
        }
    );
    let met = outcome
        .requirements
        .iter()
        .all(|requirement| requirement.met == Some(true));
    let measured = present.iter().any(|program| program.name == "ctr");
    if measured && !met && !args.json {
        println!("{}", timings(&built, &place)?);
    }
    if !missing.is_empty() || (args.check && !met) {
        return Err(Failure::Tests.into());
    }
    Ok(())
}

/// A warning when something else is running: CPU time that was not idle during half a second.
fn idle() -> anyhow::Result<Option<String>> {
    let sample = || -> anyhow::Result<(u64, u64)> {
        let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        parse_stat(&text).context("/proc/stat has no line of all CPUs")
    };
    let (idle_before, all_before) = sample()?;
    std::thread::sleep(Duration::from_millis(500));
    let (idle_after, all_after) = sample()?;
    let busy = 100 - 100 * (idle_after - idle_before) / (all_after - all_before).max(1);
    let load = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let load: f64 = load
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .context("/proc/loadavg")?;
    Ok((busy > 5 || load > 0.5).then(|| {
        format!("the machine is not idle ({busy} % of CPU time used, load {load}): the figures do not count")
    }))
}

/// (idle, all) of the first line of `/proc/stat`, in ticks, proc_stat(5).
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().sum()))
}

/// What was built.
struct Built {
    ctr: PathBuf,
    limit: PathBuf,
    nothing: PathBuf,
    stopwatch: PathBuf,
    target: PathBuf,
}

fn build() -> anyhow::Result<Built> {
    let mut command = workspace::cargo();
    command
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--package=cli", "--package=limit", "--package=nothing"])
        .stderr(Stdio::inherit());
    let output = command.output().context("cargo build")?;
    ensure!(output.status.success(), "`{}` failed", cmd::spell(&command));
    let messages: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .context("cargo's messages")?;
    let find = |name: &str| -> anyhow::Result<PathBuf> {
        messages
            .iter()
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str())
            .map(PathBuf::from)
            .with_context(|| format!("cargo built no program `{name}`"))
    };
    Ok(Built {
        ctr: find("ctr")?,
        limit: find("limit")?,
        nothing: find("true")?,
        stopwatch: find("stopwatch")?,
        target: Workspace::load()?.target,
    })
}

/// `target/bench` with the root directory, the manifests and the bundles.
fn prepare(built: &Built) -> anyhow::Result<PathBuf> {
    let place = built.target.join("bench");
    let root = place.join("root");
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    }
    std::fs::copy(&built.nothing, root.join("bin/true")).context("copy true")?;
    write(&place.join("ctr.toml"), programs::MANIFEST)?;
    write(&place.join("ctr-bridge.toml"), programs::BRIDGE_MANIFEST)?;
    for bundle in oci::BUNDLES {
        let dir = place.join(bundle.name);
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let config = serde_json::to_string_pretty(&oci::config(bundle, &root))?;
        write(&dir.join("config.json"), &config)?;
    }
    reachable(&root)?;
    Ok(place)
}

/// Container root is an ordinary user on the host: it must be able to get to the directory.
fn reachable(root: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for dir in root.ancestors() {
        let mode = dir
            .metadata()
            .with_context(|| format!("stat {}", dir.display()))?
            .permissions()
            .mode();
        ensure!(
            mode & 0o001 != 0,
            "{} cannot be entered by others, so no container can be started below it; set CARGO_TARGET_DIR",
            dir.display()
        );
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// `argv` in the private namespaces. `--kill-child`: nothing of it outlives us.
fn private(argv: &[String]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-n", "-p", "-f", "--kill-child", "--mount-proc"])
        .args(["sh", "-euc", INSIDE, "bench"])
        .args(argv)
        .stdin(Stdio::null());
    command
}

fn try_once(program: &Program) -> anyhow::Result<()> {
    let argv: Vec<String> = program
        .argv
        .iter()
        .map(|word| word.replace("{n}", "try"))
        .collect();
    let output = private(&argv).output().context("unshare")?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{}: {}: {}", argv.join(" "), output.status, stderr.trim())
}

fn measure(stopwatch: &Path, programs: &[Program], args: &Args) -> anyhow::Result<String> {
    let mut argv = vec![
        stopwatch.display().to_string(),
        args.runs.to_string(),
        args.warm_up.to_string(),
    ];
    for program in programs {
        argv.extend(["--".into(), program.name.into()]);
        argv.extend(program.argv.iter().cloned());
    }
    let output = private(&argv)
        .stderr(Stdio::inherit())
        .output()
        .context("unshare")?;
    ensure!(
        output.status.success(),
        "the measurement failed: {}",
        output.status
    );
    String::from_utf8(output.stdout).context("stopwatch")
}

/// What `ctr -v` says of one run: where its time goes.
fn timings(built: &Built, place: &Path) -> anyhow::Result<String> {
    let manifest = place.join("ctr.toml").display().to_string();
    let output = private(&[
        built.ctr.display().to_string(),
        "-v".into(),
        "run".into(),
        manifest,
    ])
    .output()
    .context("unshare")?;
    Ok(format!(
        "ctr -v run:\n{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_counts_waiting_for_disks() {
        let text = "cpu  10 0 20 300 40 0 5 1 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_stat(text), Some((340, 376)));
        assert_eq!(parse_stat("intr 1 2\n"), None);
    }
}
