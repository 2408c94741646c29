//! Leases under concurrency, and after a death.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use netns::{Holder, Lease, Leases};

use crate::world::{ALIVE, World};

/// Set in a process that takes leases on behalf of a test: directory, how many.
const TAKE: &str = "NETNS_TEST_TAKE";

fn open(directory: &Path) -> Leases {
    let nets = ["10.1.2.0/24", "fd00::/64"].map(|net| net.parse().expect(net));
    let subnets = netns::Subnets::new(&nets).expect("subnets");
    Leases::open(&directory.join("leases"), subnets).expect("open")
}

fn holder(container: &str) -> Holder {
    Holder::new(container, &std::process::id().to_string()).expect("holder")
}

fn process_lives(holder: &Holder) -> bool {
    Path::new("/proc").join(holder.owner()).exists()
}

#[test]
fn fifty_threads_never_get_the_same_address() {
    let directory = tempfile::tempdir().expect("tempdir");
    let leases = open(directory.path());
    let all: Vec<Lease> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|n| {
                let leases = &leases;
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for round in 0..20 {
                        // All want the same start, so that they meet.
                        let lease = leases.lease(&holder("same"), None, ALIVE).expect("lease");
                        if round % 5 == n % 5 {
                            kept.push(lease);
                        } else {
                            leases.release(&lease).expect("release");
                        }
                    }
                    kept
                })
            })
            .collect();
        let kept = threads.into_iter().map(|t| t.join().expect("thread"));
        kept.flatten().collect()
    });
    assert_eq!(all.len(), 200);
    let different: HashSet<_> = all.iter().map(|lease| lease.v4).collect();
    assert_eq!(different.len(), 200);
    assert_eq!(leases.list().expect("list").len(), 200);
}

/// Not a test by itself: what [`taker`] runs.
#[test]
fn takes_leases_for_another_test() {
    let Some(task) = std::env::var_os(TAKE) else {
        return;
    };
    let task = task.into_string().expect("UTF-8");
    let (directory, count) = task.split_once('|').expect("directory and count");
    let leases = open(Path::new(directory));
    for n in 0..count.parse().expect("count") {
        let lease = leases.lease(&holder(&format!("c{n}")), None, &process_lives);
        say(&format!("took {}", lease.expect("lease").v4));
    }
    say("took all");
    // Until it is killed.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[expect(clippy::print_stdout, reason = "read by the test that started this")]
fn say(line: &str) {
    println!("{line}");
}

fn taker(directory: &Path, count: usize) -> Child {
    let task = format!("{}|{count}", directory.to_str().expect("UTF-8"));
    Command::new(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "leases::takes_leases_for_another_test",
            "--nocapture",
        ])
        .env(TAKE, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start")
}

/// Waits until it has all of them.
fn taken(child: &mut Child) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let took = lines.filter_map(|line| {
        let line = line.expect("line");
        Some(line.split_once("took ")?.1.to_owned())
    });
    took.take_while(|what| what != "all").collect()
}

fn kill(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn processes_never_get_the_same_address_and_kill_gives_them_back() {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut children: Vec<_> = (0..10).map(|_| taker(directory.path(), 25)).collect();
    let mut all = Vec::new();
    for child in &mut children {
        all.extend(taken(child));
    }
    assert_eq!(all.len(), 250);
    let different: HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), 250);

    let leases = open(directory.path());
    assert_eq!(leases.sweep(&process_lives).expect("sweep"), []);
    let survivor = children.pop().expect("ten");
    children.into_iter().for_each(kill);
    assert_eq!(leases.list().expect("list").len(), 250, "left behind");
    // Three are free; the fourth is one of the dead's, without anybody having called for a sweep.
    for n in 0..4 {
        let lease = leases.lease(&holder(&format!("new{n}")), None, &process_lives);
        lease.expect("lease");
    }
    assert_eq!(leases.list().expect("list").len(), 29);
    kill(survivor);
    let freed = leases.sweep(&process_lives).expect("sweep");
    assert_eq!(freed.len(), 25);
}

#[test]
fn a_name_of_a_killed_process_can_be_had_again() {
    let world = World::new();
    let zone = world.zone();
    let record = World::record("web", 9);
    let me = holder("web2");
    zone.publish(&me, &record, &[], &process_lives)
        .expect_err("held by the process 1");
    zone.publish(&me, &record, &[], &|held| held.container() != "web")
        .expect("dead");
}
