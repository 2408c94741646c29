//! What is closed later.

use std::io::{PipeReader, Read as _, pipe};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::common::alone;

/// How long it takes until all write ends of a pipe are closed.
fn end_of(mut reader: PipeReader) -> Duration {
    let start = Instant::now();
    let mut nothing = [0];
    assert_eq!(reader.read(&mut nothing).expect("read"), 0);
    start.elapsed()
}

#[test]
fn what_lingers_is_closed_after_its_time_and_everything_else_at_once() {
    alone(|| {
        const TIME: Duration = Duration::from_millis(1500);
        let (held, kept) = pipe().expect("pipe");
        let (other, not_kept) = pipe().expect("pipe");
        let start = Instant::now();
        ns::linger(vec![OwnedFd::from(kept)], TIME).expect("clone");
        drop(not_kept);
        let at_once = end_of(other);
        end_of(held);
        let (whole, least) = (start.elapsed(), TIME - Duration::from_millis(100));
        assert!(at_once < least && whole >= least, "{at_once:?}, {whole:?}");
        // It is a child as any other.
        let (_, status) = rustix::process::wait(rustix::process::WaitOptions::empty())
            .expect("wait")
            .expect("a child");
        assert_eq!(status.exit_status(), Some(0));
    });
}
