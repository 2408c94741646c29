//! Messages over a TCP stream that does not block: two bytes of length before each ([RFC 1035] §4.2.2).
//!
//! [RFC 1035]: https://www.rfc-editor.org/rfc/rfc1035

use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::net::TcpStream;

/// One message each way at a time.
#[derive(Debug, Default)]
pub(crate) struct Framed {
    out: Vec<u8>,
    sent: usize,
    /// Of the message that is coming in, its length included.
    input: Vec<u8>,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Input {
    /// A whole message.
    Message(Vec<u8>),
    /// Not all of it yet.
    Pending,
    /// The other side is done, or sends more than it may.
    End,
}

impl Framed {
    /// Takes a message to be sent.
    pub(crate) fn push(&mut self, message: &[u8]) {
        // Longer ones cannot be made: all come from datagrams, streams of this kind, or are short.
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&message[..length.into()]);
    }

    /// Sends what can be sent; whether that was all.
    pub(crate) fn flush(&mut self, mut stream: &TcpStream) -> Result<bool> {
        while self.sent < self.out.len() {
            match stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out = Vec::new();
        self.sent = 0;
        Ok(true)
    }

    /// Reads what is there of one message of at most `limit` bytes, and not a byte of the next one.
    pub(crate) fn fill(&mut self, mut stream: &TcpStream, limit: usize) -> Result<Input> {
        loop {
            let want = match self.input[..] {
                [high, low, ..] => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => 2,
            };
            let have = self.input.len();
            if have == want && want > 2 {
                let mut message = std::mem::take(&mut self.input);
                message.drain(..2);
                return Ok(Input::Message(message));
            }
            if want > 2 + limit || have == want {
                return Ok(Input::End);
            }
            // What was announced is not what is there: memory grows with what really came.
            let step = (want - have).min(4096);
            self.input.resize(have + step, 0);
            let outcome = stream.read(&mut self.input[have..]);
            self.input.truncate(have + *outcome.as_ref().unwrap_or(&0));
            match outcome {
                Ok(0) => return Ok(Input::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Input::Pending),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
