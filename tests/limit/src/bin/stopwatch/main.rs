//! Takes the time of programs, one run of each in turn.
//!
//! `stopwatch RUNS WARM-UP -- NAME [BEFORE ARG… ;] PROGRAM ARG… [-- …]…` starts each program RUNS + WARM-UP
//! times, BEFORE always right before it and outside of its time, and prints one line for each run after the
//! warm-up: NAME, nanoseconds from before the spawn to after the wait (CLOCK_MONOTONIC), KiB of peak resident
//! memory, separated by tabs. `{n}` in an argument becomes the number of the run.
//!
//! - The programs take turns, in another order each round: what slows the machine down for a while
//!   slows all of them, and none always runs in the wake of the same other.
//! - The spawn is posix_spawn(3) (vfork inside), from a process that has next to nothing mapped. This
//!   matters for the memory as well: `ru_maxrss` of a child starts at its parent's (exec keeps the high
//!   water mark of the memory it gives up), so a large parent would be measured instead.
//! - Before each run there is a pause: the kernel takes namespaces apart after their last process is gone,
//!   in a thread of its own that holds locks, and one program is not to pay for what another left.
//! - A run that does not exit with status 0 ends the whole: a failure is fast, and would look good.

mod sys;

use std::ffi::{CString, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(30);

struct Program {
    name: String,
    /// Run before each lap, or empty.
    before: Vec<Vec<u8>>,
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
            std::thread::sleep(PAUSE);
            if !program.before.is_empty() {
                run(program, &program.before, round)?;
            }
            let lap = run(program, &program.argv, round)?;
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

/// One lap, of the program or of what comes before it.
fn run(program: &Program, argv: &[Vec<u8>], round: usize) -> Result<sys::Lap, String> {
    let argv = arguments(program, argv, round)?;
    let lap = sys::lap(&argv).map_err(|error| format!("{}: {error}", program.name))?;
    if lap.status == 0 {
        return Ok(lap);
    }
    Err(format!(
        "{}: {} ended with wait status {:#06x}",
        program.name,
        argv[0].to_string_lossy(),
        lap.status
    ))
}

fn arguments(program: &Program, argv: &[Vec<u8>], round: usize) -> Result<Vec<CString>, String> {
    argv.iter()
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
    let programs: Vec<Program> = groups.map(program).collect::<Result<_, _>>()?;
    if programs.is_empty() {
        return Err("no program to measure".into());
    }
    Ok(Plan {
        runs,
        warm_up,
        programs,
    })
}

fn program(group: &[Vec<u8>]) -> Result<Program, String> {
    let wrong = || "expected NAME [BEFORE ARG… ;] PROGRAM ARG… after each `--`".to_owned();
    let (name, words) = group.split_first().ok_or_else(wrong)?;
    let (before, argv): (&[_], &[_]) = match words.iter().position(|word| word == b";") {
        Some(0) => return Err(wrong()),
        Some(end) => (&words[..end], &words[end + 1..]),
        None => (&[], words),
    };
    if argv.is_empty() {
        return Err(wrong());
    }
    Ok(Program {
        name: String::from_utf8_lossy(name).into_owned(),
        before: before.to_vec(),
        argv: argv.to_vec(),
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
        let program = &plan.programs[1];
        assert!(program.before.is_empty());
        let argv = arguments(program, &program.argv, 7).expect("arguments");
        assert_eq!(argv, [c"/bin/b".to_owned(), c"run-7".to_owned()]);
    }

    #[test]
    fn what_comes_before_a_lap_ends_with_a_semicolon() {
        let plan = parse(words("1 0 -- a rm -r x ; /bin/a -x -- b /bin/b")).expect("a plan");
        let [a, b] = plan.programs.as_slice() else {
            panic!("two programs")
        };
        assert_eq!(a.before, [&b"rm"[..], b"-r", b"x"]);
        assert_eq!(a.argv, [&b"/bin/a"[..], b"-x"]);
        assert!(b.before.is_empty());
    }

    #[test]
    fn a_failure_before_a_lap_ends_the_measurement() {
        let plan = parse(words("1 0 -- a /bin/false ; /bin/true")).expect("a plan");
        assert_eq!(
            measure(&plan),
            Err("a: /bin/false ended with wait status 0x0100".into())
        );
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
            "100 5 -- a ; /bin/a",
            "100 5 -- a /bin/a ;",
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
