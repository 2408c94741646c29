//! The two ends of short TCP connections, for counting how many a network makes in a second.
//!
//! - `peer accept PORT` listens on all IPv4 addresses, prints `listening`, and closes each
//!   connection as soon as it is there. It never ends by itself.
//! - `peer connect ADDRESS:PORT MILLISECONDS CLIENTS` has CLIENTS threads connect, wait for the other end to
//!   close, and begin anew, until the time is over. It prints the number of connections and the
//!   nanoseconds they took, separated by a tab. A connection that fails ends the whole: a refusal is fast, and would
//!   look good.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// For one connection. A lost SYN is sent again after a second, and the figure shows it.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["accept", port] => number(port, "PORT").and_then(accept),
        ["connect", to, milliseconds, clients] => connect(to, milliseconds, clients),
        _ => Err("usage: peer accept PORT | peer connect ADDRESS:PORT MILLISECONDS CLIENTS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number<N: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    what: &str,
) -> Result<N, String> {
    text.parse()
        .map_err(|error| format!("{what} {text:?}: {error}"))
}

fn accept(port: u16) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(|error| format!("listen on port {port}: {error}"))?;
    let mut out = io::stdout();
    writeln!(out, "listening")
        .and_then(|()| out.flush())
        .map_err(|error| format!("stdout: {error}"))?;
    loop {
        // Dropped at once, which closes it.
        listener
            .accept()
            .map_err(|error| format!("accept: {error}"))?;
    }
}

fn connect(to: &str, milliseconds: &str, clients: &str) -> Result<(), String> {
    let to: SocketAddr = number(to, "ADDRESS:PORT")?;
    let time = Duration::from_millis(number(milliseconds, "MILLISECONDS")?);
    let clients: usize = number(clients, "CLIENTS")?;
    let (connections, took) = count(to, time, clients)?;
    writeln!(io::stdout(), "{connections}\t{}", took.as_nanos())
        .map_err(|error| format!("stdout: {error}"))
}

/// Connections that `clients` threads made in about `time`, and the time until the last was over.
fn count(to: SocketAddr, time: Duration, clients: usize) -> Result<(u64, Duration), String> {
    let start = Instant::now();
    let one = move || -> io::Result<u64> {
        let mut connections = 0;
        while start.elapsed() < time {
            once(to)?;
            connections += 1;
        }
        Ok(connections)
    };
    let threads: Vec<_> = (0..clients).map(|_| thread::spawn(one)).collect();
    let mut connections = 0;
    for thread in threads {
        connections += thread
            .join()
            .expect("no client panics")
            .map_err(|error| format!("connect to {to}: {error}"))?;
    }
    Ok((connections, start.elapsed()))
}

fn once(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    if stream.read(&mut byte)? != 0 {
        return Err(io::Error::other("the other end sent something"));
    }
    // Close by a reset, so that the other end keeps no TIME_WAIT: with some 28,000 ports to connect from,
    // they would come round within a few seconds and meet their own past.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_was_accepted_and_closed_is_counted() {
        static ACCEPTED: AtomicU64 = AtomicU64::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let to = listener.local_addr().expect("its address");
        thread::spawn(move || {
            loop {
                let _closed_at_the_end = listener.accept().expect("a connection");
                ACCEPTED.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (connections, took) =
            count(to, Duration::from_millis(50), 2).expect("connections are made");
        assert_eq!(connections, ACCEPTED.load(Ordering::SeqCst));
        assert!(connections > 1, "{connections}");
        assert!(took >= Duration::from_millis(50), "{took:?}");
    }

    #[test]
    fn a_refused_connection_is_an_error_and_no_count() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let to = listener.local_addr().expect("its address");
        drop(listener);
        let error = count(to, Duration::from_millis(50), 1).expect_err("nobody listens");
        assert_eq!(
            error,
            format!("connect to {to}: Connection refused (os error 111)")
        );
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        assert_eq!(
            number::<u16>("70000", "PORT"),
            Err("PORT \"70000\": number too large to fit in target type".into())
        );
    }
}
