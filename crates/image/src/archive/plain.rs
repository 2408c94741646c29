//! A stream without its compression, to be read as it comes.

use std::io::{self, BufRead, Read};

use super::CHUNK;
use crate::layer::{Error, Inflate, Limits};

/// Inflates what `R` has; its first bytes say how. Errors of the layer's kind are kept inside those of `std::io`.
pub(super) struct Plain<'a, R: BufRead> {
    inflate: Inflate<'a, R>,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

impl<'a, R: BufRead> Plain<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits) -> Result<Self, Error> {
        Ok(Self {
            inflate: Inflate::new(input, None, limits)?,
            buffer: vec![0; CHUNK],
            at: 0,
            end: 0,
        })
    }
}

impl<R: BufRead> BufRead for Plain<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.end = self
                .inflate
                .fill(&mut self.buffer)
                .map_err(io::Error::other)?;
            self.at = 0;
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl<R: BufRead> Read for Plain<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
