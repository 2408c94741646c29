//! `WWW-Authenticate`, by [RFC 9110, section 11.6.1]: which proof of identity a server wants.
//!
//! [RFC 9110, section 11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

use crate::error::{Error, shown};

/// Of one header; what ureq lets through is longer.
const MAX_HEADER: usize = 8192;
const MAX_PARAMETERS: usize = 32;

/// A proof of identity that we can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, from the place named here.
    Bearer {
        /// The token server's address.
        realm: String,
        /// What the server calls itself.
        service: Option<String>,
        /// What the token must be good for.
        scope: Option<String>,
    },
}

/// Reads one header, which may hold several challenges; the first that we know is taken.
///
/// # Errors
///
/// [`Error::Challenge`].
pub fn parse(header: &str) -> Result<Challenge, Error> {
    let refuse = |why| Error::Challenge {
        text: shown(header),
        why,
    };
    if header.len() > MAX_HEADER {
        return Err(refuse("is longer than 8192 bytes"));
    }
    let mut reader = Reader { rest: header };
    let mut schemes: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut count = 0;
    loop {
        reader.skip(" \t,");
        if reader.rest.is_empty() {
            break;
        }
        count += 1;
        if count > MAX_PARAMETERS {
            return Err(refuse("has more than 32 parts"));
        }
        let word = reader
            .token()
            .ok_or_else(|| refuse("has a part that is no word"))?;
        reader.skip(" \t");
        if !reader.eat('=') {
            schemes.push((word.to_ascii_lowercase(), Vec::new()));
            continue;
        }
        reader.skip(" \t");
        let value = reader
            .value()
            .ok_or_else(|| refuse("has a value that does not end"))?;
        let (_, parameters) = schemes
            .last_mut()
            .ok_or_else(|| refuse("does not begin with the name of a scheme"))?;
        let key = word.to_ascii_lowercase();
        if parameters.iter().any(|(before, _)| *before == key) {
            return Err(refuse("has a parameter twice"));
        }
        parameters.push((key, value));
    }
    for (scheme, parameters) in schemes {
        let get = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        match scheme.as_str() {
            "basic" => return Ok(Challenge::Basic),
            "bearer" => {
                let realm = get("realm").ok_or_else(|| refuse("names no realm"))?;
                return Ok(Challenge::Bearer {
                    realm,
                    service: get("service"),
                    scope: get("scope"),
                });
            }
            _ => {}
        }
    }
    Err(refuse("asks for neither Basic nor Bearer"))
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, what: &str) {
        self.rest = self.rest.trim_start_matches(|c| what.contains(c));
    }

    fn eat(&mut self, what: char) -> bool {
        match self.rest.strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// A word, or a string in quotes with backslashes.
    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                character if character.is_control() => return None,
                character => value.push(character),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        }
    }

    #[test]
    fn challenges_of_registries_are_read() {
        for (header, challenge) in [
            ("Basic realm=\"x\"", Challenge::Basic),
            ("basic", Challenge::Basic),
            ("Negotiate, Basic realm=x", Challenge::Basic),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull\"",
                bearer(
                    "https://auth.example/token",
                    Some("registry.example"),
                    Some("repository:a/b:pull"),
                ),
            ),
            (
                "BEARER Realm = \"a\\\"b\" , error=invalid_token",
                bearer("a\"b", None, None),
            ),
            (
                "Digest realm=\"a, Basic b\", Bearer realm=c",
                bearer("c", None, None),
            ),
        ] {
            assert_eq!(parse(header).expect(header), challenge, "{header}");
        }
    }

    #[test]
    fn hostile_challenges_are_refused() {
        let long = format!("Bearer realm=\"{}\"", "a".repeat(1 << 20));
        let many = format!("Bearer {}", "a=b,".repeat(40));
        for (header, why) in [
            ("", "neither Basic nor Bearer"),
            ("Negotiate", "neither Basic nor Bearer"),
            ("Bearer", "names no realm"),
            ("Bearer realm=\"a", "does not end"),
            ("Bearer realm=\"a\\", "does not end"),
            ("Bearer realm=\"a\nb\"", "does not end"),
            ("Bearer realm=a,realm=b", "twice"),
            ("realm=a", "does not begin"),
            ("\"Bearer\"", "no word"),
            (&long, "longer than 8192"),
            (&many, "twice"),
        ] {
            let error = parse(header).expect_err(header).to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_a_panic(header in "\\PC{0,80}|(Bearer|Basic|[a-z]+|=|,| |\"|\\\\){0,20}") {
            let _ = parse(&header);
        }
    }
}
