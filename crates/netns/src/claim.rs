//! Claims: names in a directory of which each has at most one holder, without a lock.
//!
//! A claim is a symbolic link whose target is not a path but the claim's text: who holds it. Making a
//! link is the one call of every file system that is exclusive *and* brings its content along:
//! [`symlinkat(2)`] fails with `EEXIST` when the name is taken, and no reader ever sees half a text, as it
//! would between `open(O_CREAT|O_EXCL)` and `write`. A process killed at any moment leaves a whole claim
//! or none. One call claims, one ([`readlinkat(2)`]) reads, and `ls -l` shows who holds what.
//!
//! The holder alone removes its claim. What a dead holder left is removed under `flock` of the
//! directory, after the text was read again: two processes that find the same dead claim must not
//! remove each other's new one. Nobody waits for that lock in order to claim something free.
//!
//! [`symlinkat(2)`]: https://man7.org/linux/man-pages/man2/symlink.2.html
//! [`readlinkat(2)`]: https://man7.org/linux/man-pages/man2/readlink.2.html

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::Error;

/// Longest text of a claim, in bytes; the kernel takes 4,095.
const MAX_TEXT: usize = 1024;
/// Entries are read in pieces of this size: about 1,500 leases each.
const LISTING: usize = 64 << 10;

/// Who holds something: a container, and what tells its supervisor from a later one.
///
/// Both are one to 255 printable ASCII characters without a space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    container: String,
    owner: String,
}

impl Holder {
    /// `owner` is whatever the caller can tell a live supervisor by, such as its pid and start time.
    ///
    /// # Errors
    ///
    /// [`Error::Holder`] with the text that cannot be written into a claim.
    pub fn new(container: &str, owner: &str) -> Result<Self, Error> {
        for text in [container, owner] {
            if !(1..=255).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::Holder {
                    text: text.to_owned(),
                });
            }
        }
        Ok(Self {
            container: container.to_owned(),
            owner: owner.to_owned(),
        })
    }

    /// The container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// What its supervisor is told by.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The holder that a claim's text starts with, and the rest of the text.
    ///
    /// A text that was not written here becomes a holder that `is_alive` will not know.
    pub(crate) fn parse(text: &str) -> (Self, &str) {
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let holder = Self {
            container: word().to_owned(),
            owner: word().to_owned(),
        };
        (holder, word())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.container, self.owner)
    }
}

/// A directory of claims.
#[derive(Debug)]
pub(crate) struct Claims {
    directory: OwnedFd,
    path: PathBuf,
}

impl Claims {
    /// Opens the directory, which is made with mode 0700 if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |call, source| Error::Claim {
            call,
            path: path.to_owned(),
            source,
        };
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mkdir", errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self {
            directory: rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| failed("open", errno))?,
            path: path.to_owned(),
        })
    }

    fn failed(&self, call: &'static str, file: &str) -> impl FnOnce(Errno) -> Error {
        let path = self.path.join(file);
        move |source| Error::Claim { call, path, source }
    }

    /// Claims `file`; the text of the present holder if it is taken.
    pub(crate) fn claim(&self, file: &str, text: &str) -> Result<Option<String>, Error> {
        loop {
            match rustix::fs::symlinkat(text, &self.directory, file) {
                Ok(()) => return Ok(None),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed("symlinkat", file)(errno)),
            }
            // Gone in between: it is free again, and somebody got further, so this ends.
            if let Some(holder) = self.read(file)? {
                return Ok(Some(holder));
            }
        }
    }

    /// As [`Claims::claim`]; what a dead holder left is taken over.
    pub(crate) fn claim_from_the_dead(
        &self,
        file: &str,
        text: &str,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Option<String>, Error> {
        loop {
            match self.claim(file, text)? {
                Some(held) if !is_alive(&Holder::parse(&held).0) => {
                    self.remove(&[(file, &held)])?;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// The text of a claim, `None` when nobody holds it.
    pub(crate) fn read(&self, file: &str) -> Result<Option<String>, Error> {
        let mut buffer = [MaybeUninit::uninit(); MAX_TEXT];
        match rustix::fs::readlinkat_raw(&self.directory, file, &mut buffer) {
            Ok((text, _)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            Err(Errno::NOENT) => Ok(None),
            // Not a link: whatever it is, nobody of us made it, and it is in the way.
            Err(Errno::INVAL) => Ok(Some(String::from("? ?"))),
            Err(errno) => Err(self.failed("readlinkat", file)(errno)),
        }
    }

    /// Removes those claims that still have this text; returns how many.
    pub(crate) fn remove(&self, claims: &[(&str, &str)]) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let mut removed = 0;
        for (file, text) in claims {
            if self.read(file)?.as_deref() != Some(text) {
                continue;
            }
            match rustix::fs::unlinkat(&self.directory, *file, AtFlags::empty()) {
                Ok(()) => removed += 1,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.failed("unlinkat", file)(errno)),
            }
        }
        Ok(removed)
    }

    /// A lock is of an open file, and threads share `self.directory`: hence one of its own.
    fn lock(&self) -> Result<OwnedFd, Error> {
        let lock = self.reopen()?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(lock),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("flock", ".")(errno)),
            }
        }
    }

    /// All claims: file and text.
    pub(crate) fn list(&self) -> Result<Vec<(String, String)>, Error> {
        self.some(usize::MAX)
    }

    /// `most` of them, neighbours in the directory.
    fn some(&self, most: usize) -> Result<Vec<(String, String)>, Error> {
        let mut files = Vec::new();
        self.files(|file| files.push(file.to_owned()))?;
        if files.len() > most {
            let now = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs();
            let place = now % files.len() as u64;
            files.rotate_left(place as usize);
            files.truncate(most);
        }
        let mut claims = Vec::with_capacity(files.len());
        for file in files {
            if let Some(text) = self.read(&file)? {
                claims.push((file, text));
            }
        }
        Ok(claims)
    }

    /// The files alone, which costs no look at each.
    pub(crate) fn files(&self, mut each: impl FnMut(&str)) -> Result<(), Error> {
        // The offset belongs to the open file, and threads share `self.directory`.
        let directory = self.reopen()?;
        let mut buffer = Vec::with_capacity(LISTING);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(self.failed("getdents64", "."))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(file) => each(file),
            }
        }
        Ok(())
    }

    fn reopen(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, ".", flags, Mode::empty())
            .map_err(self.failed("openat", "."))
    }

    /// Removes what dead holders left; returns it. Of two at the same time, both may.
    pub(crate) fn sweep(
        &self,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Vec<(String, String)>, Error> {
        self.sweep_some(usize::MAX, is_alive)
    }

    /// The same, looking at `most` claims, from a place that the clock chooses.
    pub(crate) fn sweep_some(
        &self,
        most: usize,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut dead = self.some(most)?;
        dead.retain(|(_, text)| !is_alive(&Holder::parse(text).0));
        if !dead.is_empty() {
            let claims: Vec<_> = dead.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
            self.remove(&claims)?;
        }
        Ok(dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> (tempfile::TempDir, Claims) {
        let directory = tempfile::tempdir().expect("tempdir");
        let claims = Claims::open(&directory.path().join("claims")).expect("open");
        (directory, claims)
    }

    #[test]
    fn a_claim_has_one_holder_and_says_who() {
        let (_directory, claims) = claims();
        assert_eq!(claims.claim("a", "web 1").expect("claim"), None);
        assert_eq!(
            claims.claim("a", "db 2").expect("claim"),
            Some("web 1".to_owned())
        );
        assert_eq!(claims.remove(&[("a", "db 2")]).expect("not theirs"), 0);
        assert_eq!(claims.remove(&[("a", "web 1")]).expect("remove"), 1);
        assert_eq!(claims.claim("a", "db 2").expect("claim"), None);
    }

    #[test]
    fn only_what_the_dead_left_is_swept() {
        let (_directory, claims) = claims();
        for n in 0..10 {
            let file = n.to_string();
            claims.claim(&file, &format!("c {n}")).expect("claim");
        }
        let alive = |holder: &Holder| holder.owner().parse::<u32>().is_ok_and(|n| n % 2 == 0);
        let mut swept = claims.sweep(&alive).expect("sweep");
        swept.sort();
        let files: Vec<_> = swept.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(files, ["1", "3", "5", "7", "9"]);
        assert_eq!(claims.list().expect("list").len(), 5);
    }

    #[test]
    fn a_dead_claim_goes_to_exactly_one_of_many() {
        let (_directory, claims) = claims();
        for _ in 0..50 {
            claims.claim("a", "dead 0").expect("claim");
            let alive = |holder: &Holder| holder.container() != "dead";
            let got = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|n| {
                        let claims = &claims;
                        scope.spawn(move || {
                            let text = format!("live {n}");
                            claims.claim_from_the_dead("a", &text, &alive)
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("thread").expect("claim"))
                    .filter(Option::is_none)
                    .count()
            });
            assert_eq!(got, 1);
            let text = claims.read("a").expect("read").expect("held");
            claims.remove(&[("a", &text)]).expect("remove");
        }
    }

    #[test]
    fn a_holder_is_one_word_each() {
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(256)] {
            assert!(Holder::new(bad, "1").is_err(), "{bad:?}");
            assert!(Holder::new("web", bad).is_err(), "{bad:?}");
        }
        let holder = Holder::new("web", "4711:99").expect("holder");
        assert_eq!(
            Holder::parse(&format!("{holder} rest of it")),
            (holder, "rest of it")
        );
    }
}
