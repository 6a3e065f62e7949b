//! Owns the `[endpoints.NAME]` tables: where sources of the kinds `http` and `prometheus` are asked.
//!
//! Refuses a secret in the URL, and a scheme for a credential that nobody named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollout_convex::{EndpointError, EndpointTarget};
use serde::Deserialize;
use toml::Spanned;

use super::mistake::Mistake;
use super::{file_name, noted, timeout};

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointConfig {
    /// Where it is, perhaps with a path.
    pub(crate) url: String,
    /// The file with what it is entered with, and how; none = whoever may reach it may read.
    pub(crate) credential: Option<(PathBuf, Scheme)>,
    /// Longest time for one request.
    pub(crate) timeout: Duration,
}

/// How a credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The file holds a token.
    Bearer,
    /// The file holds `user:password`.
    Basic,
}

/// The table as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointFile {
    url: Spanned<String>,
    credential: Option<Spanned<String>>,
    scheme: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

impl EndpointFile {
    /// Checks every part; notes what is wrong and goes on with something that is not used.
    pub(super) fn check(self, dir: &Path, mistakes: &mut Vec<Mistake>) -> EndpointConfig {
        let wanted = self.scheme.as_ref().and_then(|text| noted(scheme(text), mistakes));
        if let (Some(text), None) = (&self.scheme, &self.credential) {
            let mistake = Mistake::at(text.span(), "a scheme without a credential");
            mistakes.push(mistake.hint("name the file: credential = \"metrics.password\""));
        }
        let credential = self.credential.and_then(|file| noted(file_name(file), mistakes));
        let timeout = self.timeout.and_then(|text| noted(timeout(&text), mistakes));
        noted(url(&self.url), mistakes);
        EndpointConfig {
            url: self.url.get_ref().trim().to_owned(),
            credential: credential.map(|file| (dir.join(file), wanted.unwrap_or(Scheme::Bearer))),
            timeout: timeout.unwrap_or(EndpointTarget::TIMEOUT_DEFAULT),
        }
    }
}

fn scheme(text: &Spanned<String>) -> Result<Scheme, Mistake> {
    match text.get_ref().as_str() {
        "bearer" => Ok(Scheme::Bearer),
        "basic" => Ok(Scheme::Basic),
        other => Err(Mistake::at(text.span(), format!("`{other}` is no way to send a credential"))
            .hint("\"bearer\" (the default): a token; \"basic\": the file holds user:password")),
    }
}

fn url(url: &Spanned<String>) -> Result<(), Mistake> {
    EndpointTarget::check_url(url.get_ref()).map_err(|error| {
        let mistake = Mistake::at(url.span(), error.to_string());
        match error {
            EndpointError::TooMuch { part: "user name or password" } => mistake.hint(
                "a password goes into a file: credential = \"metrics.password\", scheme = \"basic\"",
            ),
            EndpointError::TooMuch { part: _ } => {
                mistake.hint("what is asked for stands in the plan: path = \"/health?full=1\"")
            }
            EndpointError::NotAUrl
            | EndpointError::Scheme
            | EndpointError::Credential { .. }
            | EndpointError::TimeoutZero { .. }
            | EndpointError::Client { .. } => mistake,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Surroundings};
    use super::*;

    fn parse(text: &str) -> Result<EndpointConfig, (String, String)> {
        let text = format!("[endpoints.metrics]\n{text}");
        let surroundings =
            Surroundings { credentials: Some("/c".into()), ..Surroundings::default() };
        match Config::parse(&text, &surroundings) {
            Ok(mut config) => Ok(config.endpoints.remove("metrics").unwrap()),
            Err(found) => {
                let place = found[0].place().unwrap_or_default();
                Err((text[place].to_owned(), found[0].to_string()))
            }
        }
    }

    #[test]
    fn an_endpoint_needs_only_its_url() {
        let least = parse("url = \"http://127.0.0.1:9090\"").unwrap();
        let expected = EndpointConfig {
            url: "http://127.0.0.1:9090".into(),
            credential: None,
            timeout: Duration::from_secs(10),
        };
        assert_eq!(least, expected);
        let most = parse(
            "url = \"https://x/prom\"\ncredential = \"m.pw\"\nscheme = \"basic\"\ntimeout = \"3s\"",
        );
        let most = most.unwrap();
        assert_eq!(most.credential, Some(("/c/m.pw".into(), Scheme::Basic)));
        assert_eq!(most.timeout, Duration::from_secs(3));
        let token = parse("url = \"https://x\"\ncredential = \"m.token\"").unwrap();
        assert_eq!(token.credential, Some(("/c/m.token".into(), Scheme::Bearer)));
    }

    #[test]
    fn every_mistake_points_at_its_place() {
        let wrong = |text: &str| parse(text).unwrap_err();
        let with = |line: &str| wrong(&format!("url = \"http://x\"\n{line}")).0;
        assert_eq!(with("credential = \"../m\""), "\"../m\"");
        assert_eq!(with("credential = \"m\"\nscheme = \"digest\""), "\"digest\"");
        assert_eq!(with("scheme = \"basic\""), "\"basic\"");
        assert_eq!(with("timeout = \"10\""), "\"10\"");
        assert_eq!(with("token = \"secret\""), "token");
        assert_eq!(wrong("timeout = \"3s\"").1, "missing field `url`");
        let (place, message) = wrong("url = \"http://me:hunter2@x\"");
        assert_eq!(place, "\"http://me:hunter2@x\"");
        assert!(message.contains("user name or password") && !message.contains("hunter2"));
        assert_eq!(wrong("url = \"metrics:9090\"").1, "the URL is neither http nor https");
        assert!(wrong("url = \"http://x?a=1\"").1.contains("query string"));
    }
}
