//! How a pull is shown: a bar for each layer on a terminal, a line for each elsewhere, nothing with `-q`.
//!
//! A layer that is unpacked while it comes has one bar, which goes as far as its download until that is at its end: the
//! slower of the two is what is waited for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image::{Blob, Descriptor, Digest, Error, Progress};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

const BAR: &str =
    "{prefix} {msg:<11} {bar:30.cyan/blue} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12}";

/// Bytes in binary units, as messages spell them.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Bars,
    Lines,
    Nothing,
}

/// Where a pull shows how far it is. Its own output is standard error.
#[derive(Debug)]
pub(crate) struct Show {
    how: How,
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, Bar>>,
}

#[derive(Debug)]
struct Bar {
    shown: ProgressBar,
    /// Bytes still come.
    comes: bool,
    /// It is being unpacked.
    unpacks: bool,
}

impl Show {
    pub(crate) fn new(quiet: bool) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        // Hidden where standard error is no terminal, or `$TERM` is not set or says that it can do nothing.
        let how = match (quiet, target.is_hidden()) {
            (true, _) => How::Nothing,
            (false, false) => How::Bars,
            (false, true) => How::Lines,
        };
        let target = match how {
            How::Bars => target,
            _ => ProgressDrawTarget::hidden(),
        };
        Self {
            how,
            all: MultiProgress::with_draw_target(target),
            bars: Mutex::default(),
        }
    }

    /// How far unpacking a layer is.
    pub(crate) fn unpacking(&self, layer: &Descriptor, so_far: u64) {
        let mut bars = self.bars();
        let bar = self.bar(&mut bars, layer);
        bar.unpacks = true;
        bar.shown.set_message("unpacking");
        if !bar.comes {
            bar.shown.set_position(so_far);
        }
    }

    /// The bars go; what was done is said by the command.
    pub(crate) fn done(&self) {
        self.bars().clear();
        // Nobody is left to hear of a terminal that went away.
        let _ = self.all.clear();
    }

    fn bars(&self) -> MutexGuard<'_, HashMap<Digest, Bar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar<'a>(&self, bars: &'a mut HashMap<Digest, Bar>, part: &Descriptor) -> &'a mut Bar {
        bars.entry(part.digest.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(BAR).expect("a good template");
            let bar = ProgressBar::new(part.size)
                .with_style(style)
                .with_prefix(part.digest.short().to_owned())
                .with_message("waiting");
            Bar {
                shown: self.all.add(bar),
                comes: false,
                unpacks: false,
            }
        })
    }
}

impl Progress for Show {
    fn blobs(&self, blobs: &[Descriptor]) {
        if self.how == How::Bars {
            let mut bars = self.bars();
            for part in blobs {
                self.bar(&mut bars, part);
            }
        }
    }

    fn bytes(&self, digest: &Digest, so_far: u64, shared: bool) -> bool {
        if let Some(bar) = self.bars().get_mut(digest) {
            bar.comes = true;
            match (bar.unpacks, shared) {
                (true, _) => {}
                (false, true) => bar.shown.set_message("shared"),
                (false, false) => bar.shown.set_message("pulling"),
            }
            bar.shown.set_position(so_far);
        }
        true
    }

    fn layer(&self, _at: usize, layer: &Descriptor, _blob: &Blob) -> Result<(), Error> {
        match self.how {
            How::Bars => {
                let mut bars = self.bars();
                let bar = self.bar(&mut bars, layer);
                bar.comes = false;
                if !bar.unpacks {
                    bar.shown.set_message("pulled");
                }
            }
            How::Lines => {
                let (digest, size) = (layer.digest.short(), bytes(layer.size));
                output::stderr(&format!("{digest} here, {size}\n"));
            }
            How::Nothing => {}
        }
        Ok(())
    }
}

/// `3 days`, as lists show an age.
pub(crate) fn age(since: Duration) -> String {
    indicatif::HumanDuration(since).to_string()
}
