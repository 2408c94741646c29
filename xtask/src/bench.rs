//! `cargo xtask bench`: what starting a container and its network cost, beside the limit and other engines.
//!
//! All programs start `/bin/true` (our own, without a C library) from the same directory, in the same
//! kinds of namespaces, in one private set of mount, network and pid namespaces, taking turns. What
//! differs between them is written down in [`programs`]; the numbers are taken by `stopwatch`.
//!
//! Four more parts follow, each in private namespaces of its own ([`mod@inside`]): podman and Docker
//! ([`engines`]), the 200th container of a network ([`crowd`]), traffic ([`network`]), images ([`images`]).
//!
//! Needs root, unshare(1), nsenter(1), ip(8), nft(8), and the Debian packages crun, runc, bubblewrap, curl,
//! docker-registry, skopeo and umoci.
//! podman, Docker and iperf3 are downloaded with apt and unpacked below `target/debs`. What is missing is an
//! error, after what is there has been measured.

mod crowd;
mod engines;
mod hosts;
mod images;
mod inside;
mod network;
mod oci;
mod place;
mod programs;
mod pulls;
mod result;
mod rows;
mod running;
mod table;

pub(crate) use inside::{Args as InsideArgs, run as run_inside};

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use inside::{Found, Stage};
use place::Built;
use programs::Program;
use result::Outcome;
use rows::Row;

use crate::failure::Failure;

/// Measure what a start and a network cost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of each program that count (of podman and Docker: 20)
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

/// For a stage inside; the longest, images, takes four minutes on an idle machine.
const STAGE_SECONDS: u32 = 900;

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
    let idle = idle()?;
    let built = place::build()?;
    let place = place::prepare(&built)?;
    let mut missing = Vec::new();
    let mut present = Vec::new();
    for program in programs::all(&built, &place) {
        match try_once(&program) {
            Ok(()) => present.push(program),
            Err(error) => missing.push(format!("{} cannot be measured: {error:#}", program.name)),
        }
    }
    let rows = measure(&built.stopwatch, &present, args)?;
    place::tools(&built, &place, &mut missing)?;
    let found: Vec<Found> = Stage::ALL
        .into_iter()
        .map(|stage| match inside(stage, &place) {
            Ok(mut found) => {
                missing.append(&mut found.missing);
                found
            }
            Err(error) => {
                missing.push(format!("{} cannot be measured: {error:#}", stage.name()));
                Found::default()
            }
        })
        .collect();
    let complete = missing.is_empty();
    let warnings = idle.into_iter().chain(missing).collect();
    let outcome = Outcome::new(rows, found, warnings);
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
    if !complete || (args.check && !met) {
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

/// What `argv` writes, run there.
fn within(argv: &[String]) -> anyhow::Result<String> {
    let output = private(argv).output().context("unshare")?;
    if output.status.success() {
        return String::from_utf8(output.stdout).context("its output");
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{}: {}: {}", argv.join(" "), output.status, stderr.trim())
}

fn try_once(program: &Program) -> anyhow::Result<()> {
    let argv: Vec<String> = program
        .argv
        .iter()
        .map(|word| word.replace("{n}", "try"))
        .collect();
    within(&argv).map(drop)
}

fn measure(stopwatch: &Path, programs: &[Program], args: &Args) -> anyhow::Result<Vec<Row>> {
    let stopwatch = stopwatch.display().to_string();
    let argv = rows::stopwatch(stopwatch, args.runs, args.warm_up, programs);
    rows::read(programs, &within(&argv).context("the measurement failed")?)
}

/// One stage, by this very program in private namespaces.
fn inside(stage: Stage, place: &Path) -> anyhow::Result<Found> {
    let xtask = std::env::current_exe().context("where is xtask?")?;
    let argv = [
        "timeout".into(),
        "--signal=KILL".into(),
        STAGE_SECONDS.to_string(),
        xtask.display().to_string(),
        "bench-inside".into(),
        stage.name().into(),
        place.display().to_string(),
    ];
    let said = within(&argv)?;
    serde_json::from_str(&said).with_context(|| format!("what `bench-inside` wrote: {said:?}"))
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
