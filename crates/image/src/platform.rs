//! What machine an image is made for, and which of an index's manifests fits one.
//!
//! Names are those of Go's `GOOS` and `GOARCH`, as the [image index] specification asks.
//!
//! [image index]: https://github.com/opencontainers/image-spec/blob/main/image-index.md

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;
use crate::error::{Error, shown};
use crate::json::{FREE, Keys};

/// Manifests that an error lists; the rest is counted.
const SHOWN: usize = 16;
/// Of a part of a platform, bytes: what is longer would be cut where it is shown.
const MAX_PART: usize = 64;

/// An operating system, a processor, and how new that has to be.
///
/// ```
/// let platform: image::Platform = "linux/aarch64".parse()?;
/// assert_eq!(platform.to_string(), "linux/arm64/v8");
/// # Ok::<(), image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64` …
    pub architecture: String,
    /// `v7`, `v8`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

pub(crate) static KEYS: Keys =
    Keys::object(&[("os", &FREE), ("architecture", &FREE), ("variant", &FREE)]);

impl Platform {
    /// That of this program.
    pub fn host() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            variant: String::new(),
        }
        .normal()
    }

    /// One spelling for each: `x86_64` is `amd64`, and a processor's oldest variant is said.
    fn normal(&self) -> Self {
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", String::new()),
            ("x86_64" | "x86-64" | "amd64", _) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", String::new()),
            ("aarch64" | "arm64", "" | "8") => ("arm64", "v8".to_owned()),
            ("aarch64", _) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7".to_owned()),
            ("armel", _) | ("arm", "6") => ("arm", "v6".to_owned()),
            ("arm", "5") => ("arm", "v5".to_owned()),
            ("powerpc64le", _) => ("ppc64le", variant),
            (other, _) => (other, variant),
        };
        Self {
            os: self.os.to_ascii_lowercase(),
            architecture: architecture.to_owned(),
            variant,
        }
    }

    /// How well an image for `other` serves here: the higher the better, `None` for not at all.
    ///
    /// A variant is a level: a processor of `v3` runs what is made for `v2`. Past the levels that are
    /// known, only the very same serves.
    fn fitness(&self, other: &Self) -> Option<u32> {
        let (this, other) = (self.normal(), other.normal());
        if this.os != other.os || this.architecture != other.architecture {
            return None;
        }
        if this.variant == other.variant {
            return Some(u32::MAX);
        }
        let (have, need) = (level(&this)?, level(&other)?);
        (need <= have).then_some(need)
    }
}

/// `v7` is 700, `v8.2` is 802; a processor without variants is at 100.
fn level(platform: &Platform) -> Option<u32> {
    if platform.variant.is_empty() {
        return Some(100);
    }
    let number = platform.variant.strip_prefix('v')?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let (major, minor) = (major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?);
    (minor < 100).then(|| u32::from(major) * 100 + u32::from(minor))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", shown(&self.variant))?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `linux/arm64`, `linux/arm/v6`, or `arm64` alone.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::Platform {
            text: shown(text),
            why,
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [architecture] => ("linux", architecture, ""),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] if !variant.is_empty() => (os, architecture, variant),
            _ => {
                return Err(refuse(
                    "it is written os/architecture, or os/architecture/variant",
                ));
            }
        };
        if parts.iter().any(|part| part.len() > MAX_PART) {
            return Err(refuse("no part is longer than 64 characters"));
        }
        let is_word = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        if os.is_empty()
            || architecture.is_empty()
            || ![os, architecture, variant].into_iter().all(is_word)
        {
            return Err(refuse("each part is made of letters, digits and . _ -"));
        }
        let platform = Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        };
        Ok(platform.normal())
    }
}

/// Which of an index's manifests is for a platform: the best fit, and of equals the first.
///
/// Attestations are passed over: they stand in indexes as manifests for `unknown/unknown`.
///
/// # Errors
///
/// [`Error::NoPlatform`], which lists what there is.
pub fn select<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, Error> {
    let images = || {
        manifests
            .iter()
            .filter(|descriptor| !is_attestation(descriptor))
    };
    let mut best: Option<(u32, &Descriptor)> = None;
    for descriptor in images() {
        let Some(fitness) = descriptor
            .platform
            .as_ref()
            .and_then(|other| wanted.fitness(other))
        else {
            continue;
        };
        if best.is_none_or(|(before, _)| fitness > before) {
            best = Some((fitness, descriptor));
        }
    }
    // An index of one manifest that names no platform: what made it knew only one.
    let mut all = images();
    let best = best
        .map(|(_, descriptor)| descriptor)
        .or_else(|| match (all.next(), all.next()) {
            (Some(only), None) if only.platform.is_none() => Some(only),
            _ => None,
        });
    best.ok_or_else(|| {
        let names: Vec<String> = images()
            .map(|descriptor| match &descriptor.platform {
                Some(platform) => platform.to_string(),
                None => "one without a platform".to_owned(),
            })
            .collect();
        let has = match names.len() {
            0 => "no image at all".to_owned(),
            count if count > SHOWN => {
                format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
            }
            _ => names.join(", "),
        };
        Error::NoPlatform {
            wanted: wanted.clone(),
            has,
        }
    })
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor
        .platform
        .as_ref()
        .is_some_and(|platform| platform.os == "unknown" || platform.architecture == "unknown")
}

/// Whether an image whose configuration says so runs on a machine.
///
/// # Errors
///
/// [`Error::NoPlatform`].
pub(crate) fn check(has: &Platform, wanted: &Platform) -> Result<(), Error> {
    match wanted.fitness(has) {
        Some(_) => Ok(()),
        None => Err(Error::NoPlatform {
            wanted: wanted.clone(),
            has: has.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::media::OCI_MANIFEST;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let of = |text: &&str| Descriptor {
            platform: (!text.is_empty()).then(|| {
                // As written, not as we would write it.
                let mut parts = text.split('/').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                Platform {
                    os: next(),
                    architecture: next(),
                    variant: next(),
                }
            }),
            ..Descriptor::new(OCI_MANIFEST, Digest::of(text.as_bytes()), 1)
        };
        platforms.iter().map(of).collect()
    }

    #[track_caller]
    fn picks(platforms: &[&str], wanted: &str, at: usize) {
        let manifests = index(platforms);
        let wanted: Platform = wanted.parse().expect("a platform");
        let found = select(&manifests, &wanted).expect("one that fits");
        assert_eq!(
            found.digest, manifests[at].digest,
            "{wanted} of {platforms:?}"
        );
    }

    #[test]
    fn the_best_variant_that_runs_is_chosen() {
        picks(&["linux/arm64", "linux/amd64"], "linux/amd64", 1);
        picks(&["linux/amd64/v2", "linux/amd64"], "amd64", 1);
        picks(
            &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
            "linux/amd64/v3",
            1,
        );
        picks(&["linux/arm64/v8"], "linux/aarch64", 0);
        picks(&["linux/arm64"], "linux/arm64/v8", 0);
        picks(
            &["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"],
            "linux/arm/v6",
            1,
        );
        picks(
            &["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"],
            "linux/arm",
            2,
        );
        picks(&["windows/amd64", "linux/x86_64"], "linux/amd64", 1);
        picks(&["linux/amd64", "linux/amd64"], "linux/amd64", 0);
        picks(&["unknown/unknown", "linux/amd64"], "linux/amd64", 1);
        picks(&[""], "linux/amd64", 0);
        picks(&["", "unknown/unknown"], "linux/amd64", 0);
    }

    #[track_caller]
    fn refuses(platforms: &[&str], wanted: &str, message: &str) {
        let wanted: Platform = wanted.parse().expect("a platform");
        let error = select(&index(platforms), &wanted).expect_err("none fits");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn an_index_without_the_platform_says_what_it_has() {
        refuses(
            &["linux/arm64/v8", "windows/amd64", "unknown/unknown"],
            "linux/amd64",
            "no linux/amd64; it has linux/arm64/v8, windows/amd64",
        );
        refuses(
            &["linux/amd64/v3"],
            "linux/amd64",
            "no linux/amd64; it has linux/amd64/v3",
        );
        refuses(
            &["linux/arm/v7"],
            "linux/arm/v6",
            "no linux/arm/v6; it has linux/arm/v7",
        );
        refuses(
            &["linux/arm/vulcan"],
            "linux/arm/v6",
            "no linux/arm/v6; it has linux/arm/vulcan",
        );
        refuses(
            &["unknown/unknown"],
            "linux/amd64",
            "no linux/amd64; it has no image at all",
        );
        refuses(&[], "linux/amd64", "no linux/amd64; it has no image at all");
        let many = vec!["linux/s390x"; 10_000];
        let error = select(&index(&many), &"amd64".parse().expect("one")).expect_err("none");
        assert!(error.to_string().ends_with("and 9984 more"), "{error}");
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in [
            "",
            "/",
            "linux/",
            "a/b/c/d",
            &format!("linux/{}", "a".repeat(65)),
            "linux/amd64/",
            "lin ux/amd64",
            "linux/\u{1b}",
        ] {
            let error = text.parse::<Platform>().expect_err(text);
            assert!(matches!(error, Error::Platform { .. }), "{text}: {error}");
        }
    }
}
