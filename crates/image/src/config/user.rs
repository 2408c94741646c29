//! `User`: by number or by name. What is made of digits is a number, whatever the image's passwd says.

use super::refuse;
use crate::error::Error;

/// Who runs the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub user: Id,
    /// The group; `None` is the user's own.
    pub group: Option<Id>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// By number, below 4294967295.
    Number(u32),
    /// By a name, to be looked up in the image's passwd(5) or group(5).
    Name(String),
}

impl User {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (user, group) = match text.split_once(':') {
            // Docker writes `user:` for a user alone.
            Some((user, "")) => (user, None),
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let id = |part: &str| Id::parse(part).map_err(|why| refuse("User", text, why));
        Ok(Self {
            user: id(user)?,
            group: group.map(id).transpose()?,
        })
    }
}

impl Id {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it has no user");
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // The largest number stands for "no id" in system calls.
            return match text.parse() {
                Ok(number) if number < u32::MAX => Ok(Self::Number(number)),
                _ => Err("an id is a number up to 4294967294"),
            };
        }
        let is_plain =
            |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ':' | '/' | ',');
        if text.len() > 256 || text.starts_with(['-', '+']) || !text.chars().all(is_plain) {
            return Err("a name is made of letters and digits, and begins with neither + nor -");
        }
        Ok(Self::Name(text.to_owned()))
    }
}
