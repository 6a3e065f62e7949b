//! Owns the JSON blocks of the log: flag values and what probes found, one line per entry.
//!
//! Refuses to pass on what is no JSON: such a text is shown as a JSON string.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Deepest nesting that is taken for JSON; the texts are at most a few hundred bytes.
const DEPTH_MAX: usize = 32;

/// A flag's value: `true` and `false` bare, everything else as a string. A variable that is not set counts as `false`.
pub(super) fn flag(value: Option<&str>) -> String {
    match value {
        Some("true") => "true".to_string(),
        Some("false") | None => "false".to_string(),
        Some(other) => string(other),
    }
}

/// What a deployment answered: itself when it is JSON, otherwise as a string.
pub(super) fn found(text: &str) -> String {
    let flat = text.replace(['\n', '\r', '\t'], " ");
    match is_json(&flat) {
        true => flat.trim().to_string(),
        false => string(text),
    }
}

/// An object with one entry per line; values are JSON already.
pub(super) fn object(entries: &[(String, String)]) -> Vec<String> {
    let last = entries.len().saturating_sub(1);
    let line = |(index, (name, value)): (usize, &(String, String))| {
        let comma = if index < last { "," } else { "" };
        format!("  {}: {value}{comma}", string(name))
    };
    let lines = entries.iter().enumerate().map(line);
    ["{".to_string()].into_iter().chain(lines).chain(["}".to_string()]).collect()
}

/// A JSON string.
pub(super) fn string(text: &str) -> String {
    let mut literal = "\"".to_string();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            '\n' => literal.push_str("\\n"),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                literal.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => literal.push(letter),
        }
    }
    literal.push('"');
    literal
}

fn is_json(text: &str) -> bool {
    value(text.as_bytes(), DEPTH_MAX).is_some_and(|rest| blank(rest).is_empty())
}

/// What is left after one value, or `None` when there is none.
fn value(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let bytes = blank(bytes);
    match bytes.first()? {
        b'{' => list(&bytes[1..], b'}', Entry::Named, depth.checked_sub(1)?),
        b'[' => list(&bytes[1..], b']', Entry::Bare, depth.checked_sub(1)?),
        b'"' => literal(&bytes[1..]),
        b't' => bytes.strip_prefix(b"true"),
        b'f' => bytes.strip_prefix(b"false"),
        b'n' => bytes.strip_prefix(b"null"),
        _ => number(bytes),
    }
}

/// What the entries of a list look like.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Named,
    Bare,
}

fn list(bytes: &[u8], end: u8, entry: Entry, depth: usize) -> Option<&[u8]> {
    let mut rest = blank(bytes);
    if let Some((first, after)) = rest.split_first()
        && *first == end
    {
        return Some(after);
    }
    loop {
        if entry == Entry::Named {
            let name = blank(rest).strip_prefix(b"\"")?;
            rest = blank(literal(name)?).strip_prefix(b":")?;
        }
        let (next, after) = blank(value(rest, depth)?).split_first()?;
        match *next {
            b',' => rest = after,
            next => return (next == end).then_some(after),
        }
    }
}

/// What is left after a string whose opening quote is gone.
fn literal(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (first, after) = bytes.split_first()?;
        bytes = match *first {
            b'"' => return Some(after),
            b'\\' => escape(after)?,
            0..0x20 => return None,
            _ => after,
        };
    }
}

fn escape(bytes: &[u8]) -> Option<&[u8]> {
    let (kind, after) = bytes.split_first()?;
    match *kind {
        b'u' => {
            let (digits, after) = after.split_at_checked(4)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(after)
        }
        kind => b"\"\\/bfnrt".contains(&kind).then_some(after),
    }
}

fn number(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut rest = match bytes.first()? {
        b'0' => &bytes[1..],
        _ => digits(bytes)?,
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = digits(fraction)?;
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let sign = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+"));
        rest = digits(sign.unwrap_or(exponent))?;
    }
    Some(rest)
}

fn digits(bytes: &[u8]) -> Option<&[u8]> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| &bytes[count..])
}

fn blank(bytes: &[u8]) -> &[u8] {
    let count = bytes.iter().take_while(|byte| **byte == b' ').count();
    &bytes[count..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_booleans_where_they_look_like_it() {
        assert_eq!(flag(Some("true")), "true");
        assert_eq!(flag(Some("false")), "false");
        assert_eq!(flag(None), "false");
        assert_eq!(flag(Some("on \"x\"\n")), r#""on \"x\"\n""#);
    }

    #[test]
    fn json_is_passed_on_and_the_rest_is_quoted() {
        for json in [
            r#""workflow""#,
            "true",
            "null",
            "-0.5e+3",
            "0",
            r#"{"a": [1, {}, []], "b\u00e9": "\""}"#,
            "[]",
        ] {
            assert_eq!(found(json), json);
        }
        for other in ["", "workflow", "01", "1.", "{", r#"{"a" 1}"#, "[1,]", r#""cut…"#, "true x"]
        {
            assert_eq!(found(other), string(other), "{other:?} was taken for JSON");
        }
        assert_eq!(found("{\n  \"a\": 1\n}"), "{   \"a\": 1 }");
        assert_eq!(found("x\n```"), "\"x\\n```\"");
        assert_eq!(found(&"[".repeat(5_000)), string(&"[".repeat(5_000)));
    }
}
