//! Owns one answer of an endpoint as far as both kinds of source share it: its status, and its body as JSON.
//!
//! Invariant: the credential is taken out of every text of the body before anything else sees it, so that an endpoint that
//! echoes what it is sent does not put it into the log.

use serde_json::Value as Json;

use super::target::Secret;
use crate::wire::Response;

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, or what it is instead of JSON, as the end of a sentence.
    pub(super) body: Result<Json, String>,
}

impl Page {
    /// Reads an answer.
    pub(super) fn new(response: &Response, secret: &Secret) -> Self {
        let bytes = response.body.trim_ascii();
        let body = match serde_json::from_slice(bytes) {
            Ok(json) => Ok(redacted(json, secret)),
            Err(_) if bytes.is_empty() => Err(String::from("an empty body")),
            // The reader says what it expected and where, and never quotes what it found.
            Err(error) => Err(format!("something that is not JSON: {error}")),
        };
        Self { status: response.status, body }
    }
}

fn redacted(json: Json, secret: &Secret) -> Json {
    match json {
        Json::String(text) => Json::String(secret.redact(text)),
        Json::Array(items) => {
            Json::Array(items.into_iter().map(|item| redacted(item, secret)).collect())
        }
        Json::Object(fields) => {
            let fields = fields.into_iter();
            Json::Object(
                fields.map(|(name, json)| (secret.redact(name), redacted(json, secret))).collect(),
            )
        }
        plain @ (Json::Null | Json::Bool(_) | Json::Number(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::EndpointCredential;
    use super::*;

    #[test]
    fn the_credential_is_gone_however_the_body_spells_it() {
        let credential = EndpointCredential::Bearer("a/b\"c+secret".into());
        let secret = Secret::new("m", Some(&credential)).unwrap();
        let body = br#"{"a\/b\"c+secret": ["x a/b\u0022c+secret y", 1]}"#.to_vec();
        let page = Page::new(&Response { status: 200, body, date: None }, &secret);
        assert_eq!(page.body.unwrap().to_string(), r#"{"[key]":["x [key] y",1]}"#);
    }
}
