//! Takes the time of programs, one run of each in turn.
//!
//! `stopwatch RUNS WARM-UP -- NAME PROGRAM ARG… [-- NAME PROGRAM ARG…]…` starts each program RUNS + WARM-UP
//! times and prints one line for each run after the warm-up: NAME, nanoseconds from before the spawn
//! to after the wait (CLOCK_MONOTONIC), KiB of peak resident memory, separated by tabs. `{n}` in an
//! argument becomes the number of the run.
//!
//! - The programs take turns, in another order each round: what slows the machine down for a while
//!   slows all of them, and none always runs in the wake of the same other.
//! - The spawn is posix_spawn(3) (vfork inside), from a process that has next to nothing mapped. This
//!   matters for the memory as well: `ru_maxrss` of a child starts at its parent's (exec keeps the high
//!   water mark of the memory it gives up), so a large parent would be measured instead.
//! - A run that does not exit with status 0 ends the whole: a failure is fast, and would look good.

mod sys;

use std::ffi::{CString, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;

struct Program {
    name: String,
    argv: Vec<Vec<u8>>,
}

struct Plan {
    runs: usize,
    warm_up: usize,
    programs: Vec<Program>,
}

fn main() -> ExitCode {
    let plan = match parse(std::env::args_os().skip(1).map(OsString::into_vec)) {
        Ok(plan) => plan,
        Err(error) => return fail(&error),
    };
    match measure(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "stopwatch: {error}");
    ExitCode::FAILURE
}

fn measure(plan: &Plan) -> Result<(), String> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut order: Vec<usize> = (0..plan.programs.len()).collect();
    let mut random = 0x9e37_79b9_u64;
    for round in 0..plan.warm_up + plan.runs {
        shuffle(&mut order, &mut random);
        for program in order.iter().map(|index| &plan.programs[*index]) {
            let argv = arguments(program, round)?;
            let lap = sys::lap(&argv).map_err(|error| format!("{}: {error}", program.name))?;
            if lap.status != 0 {
                return Err(format!(
                    "{} ended with wait status {:#06x}",
                    program.name, lap.status
                ));
            }
            if round >= plan.warm_up {
                writeln!(
                    out,
                    "{}\t{}\t{}",
                    program.name, lap.nanoseconds, lap.peak_kib
                )
                .map_err(|error| format!("stdout: {error}"))?;
            }
        }
    }
    out.flush().map_err(|error| format!("stdout: {error}"))
}

fn arguments(program: &Program, round: usize) -> Result<Vec<CString>, String> {
    program
        .argv
        .iter()
        .map(|argument| {
            let text = String::from_utf8_lossy(argument).replace("{n}", &round.to_string());
            CString::new(text).map_err(|error| format!("{}: {error}", program.name))
        })
        .collect()
}

/// Fisher and Yates, with a generator good enough to mix seven programs.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for last in (1..order.len()).rev() {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (*random >> 33) as usize % (last + 1));
    }
}

fn parse(mut arguments: impl Iterator<Item = Vec<u8>>) -> Result<Plan, String> {
    let mut number = |what: &str| {
        let text = arguments.next().ok_or(format!("{what} is missing"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.parse::<usize>()
            .map_err(|error| format!("{what} {text:?}: {error}"))
    };
    let (runs, warm_up) = (number("RUNS")?, number("WARM-UP")?);
    let words: Vec<Vec<u8>> = arguments.collect();
    let mut groups = words.split(|word| word == b"--");
    if groups.next().is_none_or(|first| !first.is_empty()) {
        return Err("expected `--` after WARM-UP".into());
    }
    let programs: Vec<Program> = groups
        .map(|group| match group {
            [name, argv @ ..] if !argv.is_empty() => Ok(Program {
                name: String::from_utf8_lossy(name).into_owned(),
                argv: argv.to_vec(),
            }),
            _ => Err("expected NAME PROGRAM ARG… after each `--`".to_owned()),
        })
        .collect::<Result<_, _>>()?;
    if programs.is_empty() {
        return Err("no program to measure".into());
    }
    Ok(Plan {
        runs,
        warm_up,
        programs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = Vec<u8>> {
        text.split_whitespace().map(|word| word.as_bytes().to_vec())
    }

    #[test]
    fn programs_are_separated_by_dashes() {
        let plan = parse(words("100 5 -- a /bin/a -x -- b /bin/b run-{n}")).expect("a plan");
        assert_eq!((plan.runs, plan.warm_up, plan.programs.len()), (100, 5, 2));
        let argv = arguments(&plan.programs[1], 7).expect("arguments");
        assert_eq!(argv, [c"/bin/b".to_owned(), c"run-7".to_owned()]);
    }

    #[test]
    fn a_plan_without_programs_is_refused() {
        for text in [
            "",
            "100",
            "100 5",
            "100 5 a",
            "100 5 --",
            "100 5 -- a",
            "x 5 -- a b",
        ] {
            assert!(parse(words(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_program_keeps_its_turn_in_a_shuffled_round() {
        let mut order: Vec<usize> = (0..7).collect();
        let mut random = 1;
        let before = order.clone();
        let mut moved = false;
        for _ in 0..20 {
            shuffle(&mut order, &mut random);
            moved |= order != before;
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, before);
        }
        assert!(moved);
    }

    #[test]
    fn a_lap_has_the_status_and_the_memory_of_the_program() {
        let argv = [
            c"/bin/sh".to_owned(),
            c"-c".to_owned(),
            c"exit 3".to_owned(),
        ];
        let lap = sys::lap(&argv).expect("a shell");
        assert_eq!(lap.status, 3 << 8);
        assert!(lap.peak_kib > 100, "{}", lap.peak_kib);
        assert!(lap.nanoseconds > 50_000, "{}", lap.nanoseconds);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_no_lap() {
        assert_eq!(
            sys::lap(&[c"/nonexistent".to_owned()])
                .map(|_| ())
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ENOENT)
        );
    }
}
