//! Readers of a file that grows, ends, or begins anew.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use super::*;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room");
    file
}

fn growing(growth: &Growth) -> Growing<'_> {
    match growth.wait() {
        Some(Came::Growing(growing)) => growing,
        other => panic!("{other:?}"),
    }
}

fn is_aborted(result: io::Result<usize>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionAborted)
}

#[test]
fn what_is_written_is_read_and_the_rest_is_waited_for() {
    let growth = Growth::default();
    let mut source = file(b"abc");
    growth.begin(source.try_clone().expect("a copy"), 3, 6);
    let mut reader = growing(&growth);
    let mut buffer = [0; 8];
    assert_eq!(reader.read(&mut buffer).expect("what is there"), 3);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            // In the file, and nobody was told.
            source.write_all(b"def").expect("room");
            thread::sleep(Duration::from_millis(20));
            growth.grown(5);
        });
        assert_eq!(reader.read(&mut buffer).expect("what came"), 2);
    });
    assert_eq!(&buffer[..2], b"de");
    growth.grown(6);
    growth.whole();
    assert_eq!(reader.read(&mut buffer).expect("the last"), 1);
    assert_eq!(reader.read(&mut buffer).expect("the end"), 0);
}

#[test]
fn what_is_thrown_away_is_not_read_on() {
    let growth = Growth::default();
    growth.begin(file(b"abcdef"), 6, 9);
    let mut first = growing(&growth);
    let mut buffer = [0; 4];
    assert_eq!(first.read(&mut buffer).expect("what is there"), 4);
    growth.restart();
    growth.grown(6);
    assert!(is_aborted(first.read(&mut buffer)));
    // Who begins anew gets the new bytes.
    let mut second = growing(&growth);
    assert_eq!(second.read(&mut buffer).expect("what is there"), 4);
    growth.discard();
    assert!(is_aborted(second.read(&mut buffer)));
}

#[test]
fn an_end_is_seen_by_all_who_wait() {
    for whole in [true, false] {
        let growth = Growth::default();
        growth.begin(file(b"abc"), 3, 6);
        let mut reader = growing(&growth);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| growth.wait_whole());
            let reading = scope.spawn(|| {
                let mut buffer = [0; 3];
                reader.read_exact(&mut buffer).expect("what is there");
                reader.read(&mut buffer)
            });
            thread::sleep(Duration::from_millis(20));
            match whole {
                true => {
                    growth.discard();
                    growth.whole();
                }
                false => growth.fail(),
            }
            assert_eq!(waiting.join().expect("no panic"), whole);
            assert!(is_aborted(reading.join().expect("no panic")));
        });
        // What is there stays there, whatever fails later.
        growth.fail();
        assert_eq!(growth.wait_whole(), whole);
        assert_eq!(growth.wait().is_some(), whole);
    }
}

#[test]
fn a_file_that_lost_bytes_has_no_early_end() {
    let growth = Growth::default();
    growth.begin(file(b"abc"), 6, 6);
    let mut reader = growing(&growth);
    let mut buffer = [0; 8];
    assert_eq!(reader.read(&mut buffer).expect("what is there"), 3);
    assert!(is_aborted(reader.read(&mut buffer)));
}

#[test]
fn an_empty_blob_ends_at_once() {
    let growth = Growth::default();
    growth.begin(file(b""), 0, 0);
    assert_eq!(growing(&growth).read(&mut [0; 8]).expect("the end"), 0);
}
