//! The formats of interface files: `KEY VALUE` lines, `KEY SUB=VALUE …` lines, one value.

use crate::Error;
use crate::units::parse_u64;

/// What the text of an interface file says.
pub trait Parsed: Sized {
    /// The file's name.
    const FILE: &'static str;

    /// Reads its text. Lines that a later kernel adds are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] with the line that makes no sense.
    fn parse(text: &str) -> Result<Self, Error>;
}

/// How much of a line an error shows.
const SHOWN: usize = 200;

pub(crate) fn parse_error(file: &str, line: &str) -> Error {
    Error::Parse {
        file: file.to_owned(),
        line: line.chars().take(SHOWN).collect(),
    }
}

/// The lines `KEY VALUE` of a flat keyed file.
pub(crate) fn flat<'a>(
    file: &'static str,
    text: &'a str,
) -> impl Iterator<Item = Result<(&'a str, u64), Error>> {
    text.lines().map(move |line| {
        let (key, value) = line
            .split_once(' ')
            .ok_or_else(|| parse_error(file, line))?;
        let value = parse_u64(value).ok_or_else(|| parse_error(file, line))?;
        Ok((key, value))
    })
}

/// The parts `SUB=VALUE` of a line.
pub(crate) fn pairs<'a>(
    file: &'static str,
    line: &'a str,
) -> impl Iterator<Item = Result<(&'a str, &'a str), Error>> {
    line.split_ascii_whitespace()
        .map(move |part| part.split_once('=').ok_or_else(|| parse_error(file, part)))
}

/// The text of a file that holds one value.
pub(crate) fn single<T>(
    file: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    let value = text.trim_end_matches('\n');
    parse(value).ok_or_else(|| parse_error(file, value))
}

/// A flat keyed file as a struct: `required` lines are there on every kernel from 6.1 on, `optional`
/// ones depend on its version, its configuration, or the controllers of the group.
macro_rules! flat_keyed {
    (
        $(#[$doc:meta])*
        $name:ident from $file:literal
        required { $($key:literal => $field:ident: $ty:ty, $what:literal;)* }
        optional { $($okey:literal => $ofield:ident: $oty:ty, $owhat:literal;)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct $name {
            $(#[doc = concat!("`", $key, "`: ", $what)] pub $field: $ty,)*
            $(#[doc = concat!("`", $okey, "`: ", $owhat)] pub $ofield: Option<$oty>,)*
        }

        impl $crate::keyed::Parsed for $name {
            const FILE: &'static str = $file;

            fn parse(text: &str) -> Result<Self, $crate::Error> {
                $(let mut $field: Option<$ty> = None;)*
                let mut parsed = Self::default();
                for pair in $crate::keyed::flat($file, text) {
                    let (key, value) = pair?;
                    match key {
                        $($key => $field = Some(value.into()),)*
                        $($okey => parsed.$ofield = Some(value.into()),)*
                        _ => {}
                    }
                }
                $(parsed.$field = $field
                    .ok_or_else(|| $crate::keyed::parse_error($file, concat!("(no line `", $key, "`)")))?;)*
                Ok(parsed)
            }
        }
    };
}
pub(crate) use flat_keyed;
