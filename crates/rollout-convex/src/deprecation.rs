//! Owns what a deployment says about the age of its client, in the headers of any answer.
//!
//! Invariant: it is logged once per adapter and kept for whoever asks, and it fails nothing: the deployment refuses by
//! itself when it must (`ClientVersionUnsupported`).

use std::sync::OnceLock;

use reqwest::header::HeaderMap;
use secrecy::SecretString;

use crate::text::{Redaction, clip};

/// What was said first, in words.
#[derive(Debug)]
pub(crate) struct Deprecation {
    deployment: String,
    redaction: Redaction,
    said: OnceLock<String>,
}

impl Deprecation {
    pub(crate) fn new(deployment: String, key: SecretString) -> Self {
        Self { deployment, redaction: Redaction::new(key), said: OnceLock::new() }
    }

    /// Looks at the headers of an answer; most say nothing.
    pub(crate) fn heed(&self, headers: &HeaderMap) {
        let text = |name| {
            let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
            Some(clip(self.redaction.apply(value).trim(), HEADER_BYTES_MAX))
        };
        let Some(state) = text(STATE) else { return };
        if self.said.get().is_some() {
            return;
        }
        let what = match state.as_str() {
            "Unsupported" => "no longer works with this version of rolloutd; install a newer one",
            "UpgradeRequired" => {
                "will soon refuse this version of rolloutd; install a newer one in time"
            }
            _ => "says something about this version of rolloutd; see whether there is a newer one",
        };
        let message = text(MESSAGE).map(|message| format!(": {message}")).unwrap_or_default();
        let words = format!("deployment {} {what} ({state}{message})", self.deployment);
        if self.said.set(words.clone()).is_ok() {
            tracing::warn!(deployment = self.deployment, "{words}");
        }
    }

    /// The words, if the deployment said anything so far.
    pub(crate) fn said(&self) -> Option<&str> {
        self.said.get().map(String::as_str)
    }
}

/// `UpgradeRequired` or `Unsupported`.
const STATE: &str = "x-convex-deprecation-state";
/// For people.
const MESSAGE: &str = "x-convex-deprecation-message";
/// Longest quotation of a header.
const HEADER_BYTES_MAX: usize = 200;
