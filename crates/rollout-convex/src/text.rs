//! Owns what may be shown of texts that others wrote: without the key, on one line, within a bound.
//!
//! Invariant: redact first, cut afterwards. A cut could otherwise leave half a key that no longer matches.

use secrecy::{ExposeSecret, SecretString};

/// Takes a deployment's key out of texts. Its `Debug` shows nothing of the key.
#[derive(Clone, Debug)]
pub(crate) struct Redaction {
    key: SecretString,
}

impl Redaction {
    /// Makes a redaction of `key` and of the secret part after its `|`.
    pub(crate) fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// `text` with every occurrence of the key replaced.
    pub(crate) fn apply(&self, text: String) -> String {
        let key = self.key.expose_secret();
        let secret = key
            .split_once('|')
            .map(|(_, secret)| secret)
            .filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        let mut text = text;
        for needle in [Some(key), secret].into_iter().flatten().filter(|needle| !needle.is_empty())
        {
            if text.contains(needle) {
                text = text.replace(needle, "[key]");
            }
        }
        text
    }
}

/// Cuts `text` at a character so that it has at most `bytes_max` bytes, with `…` at the end where something is missing.
pub(crate) fn clip(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut cut = bytes_max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}…", text.get(..cut).unwrap_or_default())
}

/// The line of a function's `errorMessage` that says what happened, without request id and stack. `None` where the
/// deployment redacts it.
pub(crate) fn useful_line(message: &str) -> Option<&str> {
    let rest = match message.strip_prefix("[Request ID: ").and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) => rest.trim_start(),
        None => message,
    };
    let rest = rest.strip_prefix("Server Error").unwrap_or(rest);
    rest.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("at "))
}

/// Shortest secret part that is redacted on its own; shorter ones are no secrets, and would eat ordinary words.
const SECRET_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_key_nor_its_secret_part_remains() {
        let redaction = Redaction::new(SecretString::from("prod:otter|0123456789abcdef"));
        let text =
            redaction.apply("key prod:otter|0123456789abcdef, secret 0123456789abcdef".into());
        assert_eq!(text, "key [key], secret [key]");
        assert!(!format!("{redaction:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn messages_are_reduced_to_their_useful_line() {
        let thrown = "[Request ID: 0123456789abcdef] Server Error\nUncaught Error: boom\n    at handler (../x.ts:3:10)\n";
        assert_eq!(useful_line(thrown), Some("Uncaught Error: boom"));
        let missing = "[Request ID: ab] Server Error\nCould not find function for 'a:b'. Did you forget?\n\nAvailable: c";
        assert_eq!(
            useful_line(missing),
            Some("Could not find function for 'a:b'. Did you forget?")
        );
        assert_eq!(useful_line("[Request ID: 0123456789abcdef] Server Error"), None);
        assert_eq!(useful_line("plain words"), Some("plain words"));
        assert_eq!(useful_line(""), None);
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("ääää", 7), "ää…");
        assert_eq!(clip("ää", 2), "…");
    }
}
