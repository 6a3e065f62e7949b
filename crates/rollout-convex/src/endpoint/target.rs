//! Owns where an endpoint is and how it is entered: URL and credential, checked before anything is sent.
//!
//! Refuses URLs that hold a secret or a question: user name, password, query. Errors never quote the credential.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::target::is_loopback;
use crate::text::Redaction;

/// A web server with numbers, as configured.
#[derive(Clone, Debug)]
pub struct EndpointTarget {
    /// Its name in plans and messages.
    pub name: String,
    /// Where it is, perhaps with a path that all its paths begin with: `https://example.com/prometheus`.
    pub url: String,
    /// What it is entered with, if anything.
    pub credential: Option<EndpointCredential>,
    /// Longest time for one request, from connecting to the last byte of the answer. See
    /// [`EndpointTarget::TIMEOUT_DEFAULT`].
    pub timeout: Duration,
}

/// What an endpoint is entered with.
#[derive(Clone, Debug)]
pub enum EndpointCredential {
    /// A token: `Authorization: Bearer …`.
    Bearer(SecretString),
    /// `user:password`: `Authorization: Basic …`.
    Basic(SecretString),
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL is none.
    #[error(
        "the URL is none; an endpoint's URL looks like https://prometheus.example.com or http://127.0.0.1:9090"
    )]
    NotAUrl,
    /// The URL has a scheme other than http and https.
    #[error("the URL is neither http nor https")]
    Scheme,
    /// The URL says more than where the endpoint is.
    #[error(
        "the URL has a {part}; give only scheme, host, port and the path that all requests begin with"
    )]
    TooMuch {
        /// What is too much. The URL is not quoted: it may hold a password.
        part: &'static str,
    },
    /// The credential cannot be sent as it is.
    #[error("the credential of endpoint {name} {what}")]
    Credential {
        /// The endpoint.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The timeout is zero.
    #[error("the timeout of endpoint {name} is zero")]
    TimeoutZero {
        /// The endpoint.
        name: String,
    },
    /// The HTTP client cannot be made, as on a machine without root certificates.
    #[error("failed to prepare connections to endpoint {name}")]
    Client {
        /// The endpoint.
        name: String,
        /// What the client says.
        #[source]
        cause: reqwest::Error,
    },
}

impl EndpointTarget {
    /// A good timeout for one request: dashboards' queries take a second or two.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

    /// Whether an endpoint can be at `url`; sends nothing.
    ///
    /// # Errors
    ///
    /// [`EndpointError`] when it cannot.
    pub fn check_url(url: &str) -> Result<(), EndpointError> {
        parsed(url).map(drop)
    }
}

/// A credential, ready to be sent and to be taken out of texts.
#[derive(Debug, Default)]
pub(super) struct Secret {
    /// The value of `Authorization`, marked so that it is never shown.
    pub(super) header: Option<HeaderValue>,
    redactions: Vec<Redaction>,
}

impl Secret {
    /// Prepares a credential of the endpoint `name`.
    pub(super) fn new(
        name: &str,
        credential: Option<&EndpointCredential>,
    ) -> Result<Self, EndpointError> {
        let wrong = |what| EndpointError::Credential { name: name.to_owned(), what };
        let (scheme, sent, parts) = match credential {
            None => return Ok(Self::default()),
            Some(EndpointCredential::Bearer(token)) => {
                let token = token.expose_secret().trim();
                if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(wrong("has white space or other strange characters inside"));
                }
                ("Bearer", token.to_owned(), Vec::new())
            }
            Some(EndpointCredential::Basic(pair)) => {
                let pair = pair.expose_secret().trim();
                let password = match pair.split_once(':') {
                    Some((_, password)) => password.to_owned(),
                    None => return Err(wrong("is not `user:password`, as `basic` needs")),
                };
                let whole = pair.to_owned();
                ("Basic", STANDARD.encode(pair), vec![whole, password])
            }
        };
        if sent.is_empty() {
            return Err(wrong("is empty"));
        }
        let mut header = HeaderValue::from_str(&format!("{scheme} {sent}"))
            .map_err(|_| wrong("cannot be sent in a header"))?;
        header.set_sensitive(true);
        // A password of three letters would eat ordinary words; longer ones never remain.
        let needles = std::iter::once(sent).chain(parts);
        let needles = needles.filter(|needle| needle.len() >= SECRET_BYTES_MIN);
        let redactions = needles.map(|needle| Redaction::new(SecretString::from(needle)));
        Ok(Self { header: Some(header), redactions: redactions.collect() })
    }

    /// `text` without the credential.
    pub(super) fn redact(&self, text: String) -> String {
        self.redactions.iter().fold(text, |text, redaction| redaction.apply(text))
    }
}

/// The URL, if an endpoint can be there.
pub(super) fn parsed(url: &str) -> Result<Url, EndpointError> {
    let url = Url::parse(url.trim()).map_err(|_| EndpointError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EndpointError::Scheme);
    }
    let too_much = match () {
        () if !url.username().is_empty() || url.password().is_some() => {
            Some("user name or password")
        }
        () if url.query().is_some() => Some("query string"),
        () if url.fragment().is_some() => Some("fragment"),
        () => None,
    };
    match too_much {
        Some(part) => Err(EndpointError::TooMuch { part }),
        None if url.host_str().unwrap_or_default().is_empty() => Err(EndpointError::NotAUrl),
        None => Ok(url),
    }
}

/// What is allowed and should be known about an endpoint.
pub(super) fn warnings(name: &str, url: &Url, secret: &Secret) -> Vec<String> {
    let host = url.host_str().unwrap_or_default();
    let travels = url.scheme() == "http" && secret.header.is_some() && !is_loopback(host);
    let warning = || {
        format!(
            "endpoint {name} is reached over http: its credential travels to {host} unencrypted"
        )
    };
    travels.then(warning).into_iter().collect()
}

/// Shortest secret that is taken out of texts.
const SECRET_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_in_front_and_no_secret_in_the_url() {
        for url in
            ["http://127.0.0.1:9090", "https://example.com/prometheus/", "http://[::1]:1/a/b"]
        {
            assert!(EndpointTarget::check_url(url).is_ok(), "{url}");
        }
        let refused = |url: &str| EndpointTarget::check_url(url).unwrap_err().to_string();
        assert!(refused("prometheus:9090").contains("neither http nor https"));
        assert!(refused("/metrics").contains("the URL is none"));
        assert!(refused("http://").contains("the URL is none"));
        for (url, part) in [
            ("http://me:hunter2@x", "user name or password"),
            ("http://x?token=hunter2", "query string"),
            ("http://x#hunter2", "fragment"),
        ] {
            let words = refused(url);
            assert!(words.contains(part) && !words.contains("hunter2"), "{words}");
        }
    }

    #[test]
    fn a_credential_is_sent_and_never_shown() {
        let bearer = |token: &str| EndpointCredential::Bearer(token.into());
        let basic = |pair: &str| EndpointCredential::Basic(pair.into());
        let secret = Secret::new("m", Some(&basic("me:hunter2"))).unwrap();
        let header = secret.header.as_ref().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic bWU6aHVudGVyMg==");
        let said = "me:hunter2, hunter2 and bWU6aHVudGVyMg== of me";
        assert_eq!(secret.redact(said.into()), "[key], [key] and [key] of me");
        assert!(!format!("{secret:?}").contains("bWU6"), "{secret:?}");
        let refused = |credential| Secret::new("m", Some(&credential)).unwrap_err().to_string();
        assert!(refused(basic("hunter2")).contains("is not `user:password`"));
        assert!(refused(bearer("")).contains("is empty"));
        for strange in ["hun ter2", "hun\nter2", "hünter2"] {
            let words = refused(bearer(strange));
            assert!(words.contains("strange") && !words.contains("ter2"), "{words}");
        }
    }

    #[test]
    fn a_credential_over_plain_http_is_allowed_and_said() {
        let secret = Secret::new("m", Some(&EndpointCredential::Bearer("token".into()))).unwrap();
        let none = Secret::default();
        let warned = |url: &str, secret| warnings("m", &parsed(url).unwrap(), secret);
        assert_eq!(warned("http://127.0.0.1:9090", &secret), [""; 0]);
        assert_eq!(warned("https://example.com", &secret), [""; 0]);
        assert_eq!(warned("http://example.com", &none), [""; 0]);
        assert_eq!(
            warned("http://example.com/x", &secret),
            ["endpoint m is reached over http: its credential travels to example.com unencrypted"]
        );
    }
}
