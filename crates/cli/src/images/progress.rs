//! How a pull is shown: a bar for each layer on a terminal, a line for each elsewhere, nothing with `-q`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
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
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Show {
    pub(crate) fn new(quiet: bool) -> Self {
        let how = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => How::Nothing,
            (false, true) => How::Bars,
            (false, false) => How::Lines,
        };
        let target = match how {
            How::Bars => ProgressDrawTarget::stderr_with_hz(10),
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
        let bar = self.bar(layer, "unpacking");
        bar.set_message("unpacking");
        bar.set_position(so_far);
    }

    /// The bars go; what was done is said by the command.
    pub(crate) fn done(&self) {
        self.bars().clear();
        // Nobody is left to hear of a terminal that went away.
        let _ = self.all.clear();
    }

    fn bars(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, part: &Descriptor, doing: &'static str) -> ProgressBar {
        let mut bars = self.bars();
        let bar = bars.entry(part.digest.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(BAR).expect("a good template");
            let bar = ProgressBar::new(part.size)
                .with_style(style)
                .with_prefix(part.digest.short().to_owned())
                .with_message(doing);
            self.all.add(bar)
        });
        bar.clone()
    }
}

impl Progress for Show {
    fn blobs(&self, blobs: &[Descriptor]) {
        if self.how == How::Bars {
            for part in blobs {
                self.bar(part, "waiting");
            }
        }
    }

    fn bytes(&self, digest: &Digest, so_far: u64, shared: bool) -> bool {
        if let Some(bar) = self.bars().get(digest) {
            bar.set_message(match shared {
                true => "shared",
                false => "pulling",
            });
            bar.set_position(so_far);
        }
        true
    }

    fn layer(&self, _at: usize, layer: &Descriptor, _blob: &Blob) -> Result<(), Error> {
        match self.how {
            How::Bars => self.bar(layer, "pulled").set_message("pulled"),
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
