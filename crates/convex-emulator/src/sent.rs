//! What clients sent, to the letter: query, headers and body of the newest requests, so that two
//! clients can be compared.
//!
//! Secrets are left out wherever a request may hold one; which key it was can still be seen by its
//! form. Nothing here influences what the deployment answers.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::wire::Request;

/// One request as it was sent, without those to `/_emulator/`, or one message of a websocket.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// `GET`, `POST` ..., or `MESSAGE` for one of a websocket.
    pub method: String,
    /// The path without its query string; of a message its type.
    pub path: String,
    /// The decoded query string.
    pub query: BTreeMap<String, String>,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body; `None` when there is none, when it is no JSON, or when it is too large to keep.
    pub body: Option<Json>,
    /// How long the body was.
    pub body_bytes: usize,
    /// The status answered; `None` when the connection was closed instead.
    pub status: Option<u16>,
}

impl Sent {
    /// Keeps `request`, without its secrets.
    #[must_use]
    pub fn new(request: &Request, status: Option<u16>) -> Self {
        let Request { method, path, query, headers, body } = request;
        let kept = (body.len() <= BODY_BYTES_MAX).then_some(body);
        Self {
            method: method.clone(),
            path: path.clone(),
            query: without_secrets(query),
            headers: without_secrets(headers),
            body: kept.and_then(|body| serde_json::from_slice(body).ok()).map(body_without_secrets),
            body_bytes: body.len(),
            status,
        }
    }

    /// Keeps a message of a websocket, without its secrets.
    #[must_use]
    pub fn message(text: &str) -> Self {
        let kept = (text.len() <= BODY_BYTES_MAX).then_some(text);
        let mut body: Option<Json> = kept.and_then(|text| serde_json::from_str(text).ok());
        if let Some(value) = body.as_mut().and_then(|body| body.get_mut("value")) {
            // Only a message that authenticates has this: the key itself.
            *value = value.as_str().map(without_secret).into();
        }
        let kind = body.as_ref().and_then(|body| body["type"].as_str()).unwrap_or_default();
        Self {
            method: "MESSAGE".to_owned(),
            path: kind.to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body_bytes: text.len(),
            body,
            status: None,
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        json!({
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": self.body,
            "bodyBytes": self.body_bytes,
            "status": self.status,
        })
    }
}

fn without_secrets(fields: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |(name, value): (&String, &String)| {
        let shown = if is_secret(name) { without_secret(value) } else { value.clone() };
        (name.clone(), shown)
    };
    fields.iter().map(shown).collect()
}

fn body_without_secrets(mut body: Json) -> Json {
    if let Some(fields) = body.as_object_mut() {
        for (name, value) in fields {
            if let Some(text) = value.as_str().filter(|_| is_secret(name)) {
                *value = Json::String(without_secret(text));
            }
        }
    }
    body
}

/// A header, a query parameter or a field of a body that holds a key.
fn is_secret(name: &str) -> bool {
    ["authorization", "adminKey", "deployKey"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// `Convex name|secret` as `Convex name|…`; of a key that names no deployment only the scheme stays.
fn without_secret(text: &str) -> String {
    let kept = text.find('|').or_else(|| text.find(' ')).map_or("", |at| &text[..=at]);
    format!("{kept}…")
}

/// How many requests are kept.
pub const SENT_MAX: usize = 256;
/// Largest body that is kept.
const BODY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_without_its_secrets() {
        let body = json!({"deployKey": "prod:otter|01ff", "changes": []});
        let mut request = Request::new("POST", "/api/x")
            .header("Authorization", "Convex otter|01ff:eyJ9")
            .header("Convex-Client", "npm-cli-1.48.0")
            .json(&body);
        request.query.insert("adminKey".to_owned(), "otter|01ff".to_owned());
        let sent = Sent::new(&request, Some(200)).to_json();
        assert_eq!(sent["headers"]["authorization"], "Convex otter|…");
        assert_eq!(sent["headers"]["convex-client"], "npm-cli-1.48.0");
        assert_eq!(sent["query"], json!({"adminKey": "otter|…"}));
        assert_eq!(sent["body"], json!({"deployKey": "prod:otter|…", "changes": []}));
        assert!(!sent.to_string().contains("01ff"), "{sent}");
        let bearer = Request::new("GET", "/").header("Authorization", "Bearer some.jwt.here");
        assert_eq!(Sent::new(&bearer, None).headers["authorization"], "Bearer …");
    }

    #[test]
    fn a_message_is_kept_without_its_key() {
        let text = json!({"type": "Authenticate", "tokenType": "Admin", "value": "otter|01ff"});
        let sent = Sent::message(&text.to_string());
        assert_eq!((sent.method.as_str(), sent.path.as_str()), ("MESSAGE", "Authenticate"));
        assert_eq!(sent.body.unwrap()["value"], "otter|…");
        assert_eq!(Sent::message("{").body, None);
    }

    #[test]
    fn a_body_that_is_no_json_is_kept_as_its_length() {
        let request = Request { body: b"not json".to_vec(), ..Request::new("POST", "/api/x") };
        let sent = Sent::new(&request, None);
        assert_eq!((sent.body, sent.body_bytes), (None, 8));
    }
}
