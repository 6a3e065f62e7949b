//! Convex values and their two encodings on the wire.
//!
//! A Convex number is always a float: it leaves here with a decimal point (`5.0`), never as an
//! integer. What JSON cannot hold travels in the wrappers `$float`, `$integer` and `$bytes` of the
//! exact encoding; the readable encoding turns the same values into strings and loses their type.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};
use thiserror::Error;

/// A value as Convex functions take and return it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number (Float64), including NaN and the infinities.
    Float(f64),
    /// A `bigint` (Int64).
    Int(i64),
    /// An `ArrayBuffer`.
    Bytes(Vec<u8>),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// An object; keys are sorted, as Convex sorts them.
    Object(BTreeMap<String, Value>),
}

/// The `format` a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `convex_encoded_json`: exact, with wrappers.
    Exact,
    /// `json`: readable, special values become strings.
    Readable,
}

/// A JSON value that is not the exact encoding of a Convex value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// An object key starts with `$` and is none of the three wrappers.
    #[error("object key `{key}` starts with `$`")]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// A wrapper holds something else than base64 of the right length.
    #[error("`{wrapper}` does not hold base64 of the right length")]
    BrokenWrapper {
        /// `$float`, `$integer` or `$bytes`.
        wrapper: &'static str,
    },
}

impl Encoding {
    /// Reads the `format` of a request; `None` for a format Convex does not know.
    #[must_use]
    pub fn parse(format: Option<&str>) -> Option<Self> {
        match format {
            None | Some("json" | "convex_clean_json") => Some(Self::Readable),
            Some("convex_encoded_json" | "convex_json" | "export_json") => Some(Self::Exact),
            Some(_) => None,
        }
    }
}

impl Value {
    /// Makes an object from its entries.
    #[must_use]
    pub fn object<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Makes a string value.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The number in this value, if it is one.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(number) = self { Some(*number) } else { None }
    }

    /// The string in this value, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Encodes the value for the wire.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => json!(flag),
            Self::Float(number) => encode_float(*number, encoding),
            Self::Int(number) => match encoding {
                Encoding::Exact => json!({ "$integer": BASE64.encode(number.to_le_bytes()) }),
                Encoding::Readable => json!(number.to_string()),
            },
            Self::Bytes(bytes) => match encoding {
                Encoding::Exact => json!({ "$bytes": BASE64.encode(bytes) }),
                Encoding::Readable => json!(BASE64.encode(bytes)),
            },
            Self::Text(text) => json!(text),
            Self::Array(items) => items.iter().map(|item| item.encode(encoding)).collect(),
            Self::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.encode(encoding))).collect()
            }
        }
    }

    /// Decodes the exact encoding, which is the only one accepted in arguments.
    ///
    /// # Errors
    ///
    /// Returns a [`ValueError`] when a wrapper or a reserved key is wrong.
    pub fn decode(json: &Json) -> Result<Self, ValueError> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => {
                Self::Array(items.iter().map(Self::decode).collect::<Result<_, _>>()?)
            }
            Json::Object(entries) => decode_object(entries)?,
        })
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

fn encode_float(number: f64, encoding: Encoding) -> Json {
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    match encoding {
        Encoding::Exact if is_negative_zero || !number.is_finite() => {
            // Every NaN leaves as the one that JavaScript produces.
            let number = if number.is_nan() { CANONICAL_NAN } else { number };
            json!({ "$float": BASE64.encode(number.to_le_bytes()) })
        }
        Encoding::Readable if number.is_nan() => json!("NaN"),
        Encoding::Readable if number == f64::INFINITY => json!("Infinity"),
        Encoding::Readable if number == f64::NEG_INFINITY => json!("-Infinity"),
        Encoding::Exact | Encoding::Readable => json!(number),
    }
}

fn decode_object(entries: &Map<String, Json>) -> Result<Value, ValueError> {
    if entries.len() == 1 {
        if let Some(inner) = entries.get("$float") {
            return Ok(Value::Float(f64::from_le_bytes(decode_wrapper("$float", inner)?)));
        }
        if let Some(inner) = entries.get("$integer") {
            return Ok(Value::Int(i64::from_le_bytes(decode_wrapper("$integer", inner)?)));
        }
        if let Some(inner) = entries.get("$bytes") {
            let broken = ValueError::BrokenWrapper { wrapper: "$bytes" };
            let text = inner.as_str().ok_or_else(|| broken.clone())?;
            return BASE64.decode(text).map(Value::Bytes).map_err(|_| broken);
        }
    }
    let mut object = BTreeMap::new();
    for (key, value) in entries {
        if key.starts_with('$') {
            return Err(ValueError::ReservedKey { key: key.clone() });
        }
        object.insert(key.clone(), Value::decode(value)?);
    }
    Ok(Value::Object(object))
}

fn decode_wrapper(wrapper: &'static str, inner: &Json) -> Result<[u8; 8], ValueError> {
    let broken = ValueError::BrokenWrapper { wrapper };
    let text = inner.as_str().ok_or_else(|| broken.clone())?;
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(broken)
}

const CANONICAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, exact: &str, readable: &str) {
        assert_eq!(value.encode(Encoding::Exact).to_string(), exact);
        assert_eq!(value.encode(Encoding::Readable).to_string(), readable);
    }

    #[test]
    fn numbers_always_carry_a_decimal_point() {
        check(&Value::Float(5.0), "5.0", "5.0");
        check(&Value::Float(940.25), "940.25", "940.25");
        check(&Value::Float(-0.0), r#"{"$float":"AAAAAAAAAIA="}"#, "-0.0");
    }

    #[test]
    fn special_values_are_wrapped_or_become_strings() {
        check(&Value::Float(f64::NAN), r#"{"$float":"AAAAAAAA+H8="}"#, r#""NaN""#);
        check(&Value::Float(-f64::NAN), r#"{"$float":"AAAAAAAA+H8="}"#, r#""NaN""#);
        check(&Value::Float(f64::INFINITY), r#"{"$float":"AAAAAAAA8H8="}"#, r#""Infinity""#);
        check(&Value::Float(f64::NEG_INFINITY), r#"{"$float":"AAAAAAAA8P8="}"#, r#""-Infinity""#);
        check(&Value::Int(42), r#"{"$integer":"KgAAAAAAAAA="}"#, r#""42""#);
        check(&Value::Bytes(vec![1, 2]), r#"{"$bytes":"AQI="}"#, r#""AQI=""#);
    }

    #[test]
    fn decoding_inverts_the_exact_encoding() {
        let value = Value::object([
            ("list", Value::Array(vec![Value::Null, Value::Bool(true), Value::Float(1.5)])),
            ("inf", Value::Float(f64::INFINITY)),
            ("int", Value::Int(-7)),
            ("bytes", Value::Bytes(vec![0, 255])),
            ("text", Value::text("x")),
        ]);
        assert_eq!(Value::decode(&value.encode(Encoding::Exact)), Ok(value));
    }

    #[test]
    fn broken_wrappers_and_reserved_keys_are_refused() {
        for wrapper in ["$float", "$integer"] {
            assert_eq!(
                Value::decode(&json!({ wrapper: "AAA=" })),
                Err(ValueError::BrokenWrapper { wrapper })
            );
        }
        assert!(Value::decode(&json!({ "$bytes": 1 })).is_err());
        assert_eq!(
            Value::decode(&json!({ "$set": 1, "a": 2 })),
            Err(ValueError::ReservedKey { key: "$set".to_owned() })
        );
    }

    #[test]
    fn only_the_known_formats_are_accepted() {
        assert_eq!(Encoding::parse(Some("convex_encoded_json")), Some(Encoding::Exact));
        assert_eq!(Encoding::parse(Some("json")), Some(Encoding::Readable));
        assert_eq!(Encoding::parse(None), Some(Encoding::Readable));
        assert_eq!(Encoding::parse(Some("yaml")), None);
    }
}
