//! Owns the values of a deployment: decoded from `convex_encoded_json`, pointed into, shown in one line.
//!
//! Refuses wrappers that it does not know, instead of taking them for objects: `{"$float": …}` is a number, and a `NaN`
//! must never pass as a text. Every number is an `f64`, as on the wire; `$integer` keeps its own kind. Showing is bounded:
//! a value of 16 MiB costs no more than its first few hundred bytes.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// A value that a function of the deployment answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum ConvexValue {
    /// `null`
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A float; may be NaN, infinite or −0.
    Number(f64),
    /// A 64-bit integer (a `bigint` in JavaScript).
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// An object, by the names of its fields.
    Object(BTreeMap<String, Self>),
}

/// Why JSON is not the exact encoding of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The content of a wrapper is not base64 of the right length.
    #[error("the content of `{0}` is not valid")]
    Content(&'static str),
    /// A field name that starts with `$` and is none of the known wrappers.
    #[error("`{0}` is not a known kind of value")]
    Unknown(String),
}

/// What a pointer leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Pointed<'a> {
    /// A value, perhaps null.
    Value(&'a ConvexValue),
    /// Nothing; the text says what is there instead.
    Nothing(String),
    /// It is no JSON pointer.
    NotAPointer,
}

impl ConvexValue {
    /// Decodes the exact encoding (`convex_encoded_json`).
    ///
    /// # Errors
    ///
    /// [`ValueError`] for a `$` wrapper that is unknown or has the wrong content.
    pub fn decode(json: Json) -> Result<Self, ValueError> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(boolean) => Self::Boolean(boolean),
            Json::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(text),
            Json::Array(items) => {
                Self::List(items.into_iter().map(Self::decode).collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => match fields.keys().find(|name| name.starts_with('$')) {
                Some(name) if fields.len() == 1 => Self::unwrap(&name.clone(), &fields)?,
                Some(name) => return Err(ValueError::Unknown(name.clone())),
                None => {
                    let fields =
                        fields.into_iter().map(|(name, value)| Ok((name, Self::decode(value)?)));
                    Self::Object(fields.collect::<Result<_, _>>()?)
                }
            },
        })
    }

    /// Decodes one `$` wrapper.
    fn unwrap(name: &str, fields: &serde_json::Map<String, Json>) -> Result<Self, ValueError> {
        let bytes =
            fields.get(name).and_then(Json::as_str).and_then(|text| STANDARD.decode(text).ok());
        let eight = || bytes.clone().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        match name {
            "$float" => eight()
                .map(|bytes| Self::Number(f64::from_le_bytes(bytes)))
                .ok_or(ValueError::Content("$float")),
            "$integer" => eight()
                .map(|bytes| Self::Integer(i64::from_le_bytes(bytes)))
                .ok_or(ValueError::Content("$integer")),
            "$bytes" => bytes.map(Self::Bytes).ok_or(ValueError::Content("$bytes")),
            unknown => Err(ValueError::Unknown(unknown.to_owned())),
        }
    }

    /// The value at a JSON pointer (RFC 6901); the empty pointer is the whole value.
    pub fn at(&self, pointer: &str) -> Pointed<'_> {
        if pointer.is_empty() {
            return Pointed::Value(self);
        }
        let Some(path) = pointer.strip_prefix('/') else { return Pointed::NotAPointer };
        let mut here = self;
        let mut walked = String::new();
        for token in path.split('/') {
            let Some(next) = here.child(&token.replace("~1", "/").replace("~0", "~")) else {
                let place = if walked.is_empty() { "the result" } else { walked.as_str() };
                return Pointed::Nothing(format!(
                    "nothing at {pointer}; {place} {}",
                    here.makeup()
                ));
            };
            walked = format!("{walked}/{token}");
            here = next;
        }
        Pointed::Value(here)
    }

    /// The field or item that one token of a pointer names.
    fn child(&self, token: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(token),
            Self::List(items) => {
                let canonical = token == "0" || !token.starts_with(['0', '+']);
                token.parse::<usize>().ok().filter(|_| canonical).and_then(|index| items.get(index))
            }
            Self::Null
            | Self::Boolean(_)
            | Self::Number(_)
            | Self::Integer(_)
            | Self::Text(_)
            | Self::Bytes(_) => None,
        }
    }

    /// What the value consists of, as the end of a sentence: `has errorRate, mode`.
    fn makeup(&self) -> String {
        let Self::Object(fields) = self else { return format!("is {}", self.kind()) };
        let named: Vec<_> = fields.keys().take(FIELDS_NAMED_MAX).map(String::as_str).collect();
        match fields.len() - named.len() {
            0 if named.is_empty() => String::from("has no fields"),
            0 => format!("has {}", named.join(", ")),
            rest => format!("has {} and {rest} more", named.join(", ")),
        }
    }

    /// The kind of the value in words, with the value itself where it is short: `the text "0.4"`, `a list of 3`.
    pub fn kind(&self) -> String {
        match self {
            Self::Null => String::from("null"),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(number) => format!("the number {number}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Text(_) => format!("the text {}", self.show(TEXT_SHOWN_BYTES)),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Object(_) => String::from("an object"),
        }
    }

    /// The value as compact JSON, cut with `…` so that it is never longer than `bytes_max` bytes. Fields are in the order
    /// of their names, numbers without a needless `.0`.
    pub fn show(&self, bytes_max: usize) -> String {
        let mut line = BoundedLine {
            text: String::new(),
            bytes_max: bytes_max.saturating_sub('…'.len_utf8()),
        };
        match self.write(&mut line) {
            Ok(()) => line.text,
            Err(fmt::Error) => line.text + "…",
        }
    }

    /// Writes compact JSON until the line is full.
    fn write(&self, line: &mut BoundedLine) -> fmt::Result {
        match self {
            Self::Null => line.write_str("null"),
            Self::Boolean(boolean) => write!(line, "{boolean}"),
            Self::Number(number) => write!(line, "{number}"),
            Self::Integer(number) => write!(line, "{number}"),
            Self::Text(text) => write_text(text, line),
            Self::Bytes(bytes) => write!(line, "\"{} bytes\"", bytes.len()),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    line.write_char(if index == 0 { '[' } else { ',' })?;
                    item.write(line)?;
                }
                line.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Self::Object(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    line.write_char(if index == 0 { '{' } else { ',' })?;
                    write_text(name, line)?;
                    line.write_char(':')?;
                    value.write(line)?;
                }
                line.write_str(if fields.is_empty() { "{}" } else { "}" })
            }
        }
    }

    /// The same value with every text and field name replaced by what `rewrite` makes of it.
    #[must_use]
    pub(crate) fn rewritten(self, rewrite: &dyn Fn(String) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(rewrite(text)),
            Self::List(items) => {
                Self::List(items.into_iter().map(|item| item.rewritten(rewrite)).collect())
            }
            Self::Object(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (rewrite(name), value.rewritten(rewrite)));
                Self::Object(fields.collect())
            }
            plain @ (Self::Null
            | Self::Boolean(_)
            | Self::Number(_)
            | Self::Integer(_)
            | Self::Bytes(_)) => plain,
        }
    }
}

/// Writes a JSON string, character by character, so that a long text stops at the bound.
fn write_text(text: &str, line: &mut BoundedLine) -> fmt::Result {
    line.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => line.write_str("\\\"")?,
            '\\' => line.write_str("\\\\")?,
            '\n' => line.write_str("\\n")?,
            control if control.is_control() => write!(line, "\\u{:04x}", u32::from(control))?,
            plain => line.write_char(plain)?,
        }
    }
    line.write_char('"')
}

/// A text that refuses to grow beyond a bound.
struct BoundedLine {
    text: String,
    bytes_max: usize,
}

impl Write for BoundedLine {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.len() + part.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}

/// Most field names in a sentence about what is there instead.
const FIELDS_NAMED_MAX: usize = 12;
/// Longest quotation of a text in a sentence about its kind, in bytes.
const TEXT_SHOWN_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(json: Json) -> ConvexValue {
        ConvexValue::decode(json).unwrap()
    }

    #[test]
    fn wrappers_are_the_values_they_wrap() {
        let ConvexValue::Number(nan) = decoded(json!({"$float": "AAAAAAAA+H8="})) else {
            panic!("no number")
        };
        assert!(nan.is_nan());
        assert_eq!(decoded(json!({"$float": "AAAAAAAA8H8="})), ConvexValue::Number(f64::INFINITY));
        let ConvexValue::Number(zero) = decoded(json!({"$float": "AAAAAAAAAIA="})) else {
            panic!("no number")
        };
        assert!(zero == 0.0 && zero.is_sign_negative());
        assert_eq!(decoded(json!({"$integer": "KgAAAAAAAAA="})), ConvexValue::Integer(42));
        assert_eq!(decoded(json!({"$bytes": "AQI="})), ConvexValue::Bytes(vec![1, 2]));
        assert_eq!(decoded(json!(5.0)), ConvexValue::Number(5.0));
        assert_eq!(decoded(json!(5)), ConvexValue::Number(5.0));
    }

    #[test]
    fn strange_wrappers_are_refused_instead_of_guessed() {
        let refused = |json| ConvexValue::decode(json).unwrap_err();
        assert_eq!(refused(json!({"$float": "AAAA"})), ValueError::Content("$float"));
        assert_eq!(refused(json!({"$integer": 42})), ValueError::Content("$integer"));
        assert_eq!(refused(json!({"$bytes": "?"})), ValueError::Content("$bytes"));
        assert_eq!(refused(json!([{"$set": []}])), ValueError::Unknown("$set".into()));
        assert_eq!(
            refused(json!({"$float": "AAAAAAAA+H8=", "x": 1})),
            ValueError::Unknown("$float".into())
        );
    }

    #[test]
    fn pointers_follow_rfc_6901() {
        let value = decoded(json!({"a/b": {"m~n": [10.0, 20.0]}, "": 1.0}));
        assert_eq!(value.at("/a~1b/m~0n/1"), Pointed::Value(&ConvexValue::Number(20.0)));
        assert_eq!(value.at("/"), Pointed::Value(&ConvexValue::Number(1.0)));
        assert_eq!(value.at(""), Pointed::Value(&value));
        assert_eq!(value.at("a"), Pointed::NotAPointer);
        for beyond in [
            "/a~1b/m~0n/2",
            "/a~1b/m~0n/01",
            "/a~1b/m~0n/+1",
            "/a~1b/m~0n/-",
            "/nope",
            "/a~1b/m~0n/1/x",
        ] {
            assert!(matches!(value.at(beyond), Pointed::Nothing(_)), "{beyond} was found");
        }
    }

    #[test]
    fn nothing_says_what_is_there_instead() {
        let value =
            decoded(json!({"status": "ok", "alertCount": 1.0, "mode": {"x": 1.0}, "list": [1.0]}));
        let nothing = |pointer| {
            let Pointed::Nothing(words) = value.at(pointer) else { panic!("{pointer} was found") };
            words
        };
        assert_eq!(
            nothing("/errorRate"),
            "nothing at /errorRate; the result has alertCount, list, mode, status"
        );
        assert_eq!(nothing("/mode/y"), "nothing at /mode/y; /mode has x");
        assert_eq!(nothing("/list/4"), "nothing at /list/4; /list is a list of 1");
        assert_eq!(nothing("/status/x"), "nothing at /status/x; /status is the text \"ok\"");
    }

    #[test]
    fn what_is_shown_is_compact_json_within_its_bound() {
        let value = decoded(
            json!({"b": [1.0, 0.5, null, true], "a": "q\"\n", "c": {"$integer": "KgAAAAAAAAA="}}),
        );
        assert_eq!(value.show(200), r#"{"a":"q\"\n","b":[1,0.5,null,true],"c":42}"#);
        let long = ConvexValue::List(vec![ConvexValue::Text("ä".repeat(5_000_000))]);
        let shown = long.show(200);
        assert!(shown.len() <= 200 && shown.ends_with('…'), "{} bytes", shown.len());
        assert_eq!(decoded(json!({})).show(200), "{}");
        assert_eq!(decoded(json!([])).show(200), "[]");
    }
}
