//! Owns the wires to the endpoints: which web server or Prometheus server a source asks, with the credential of now.
//!
//! As with deployments, a client is made when it is first needed and shared from then on, and made anew when its credential
//! file is another one. An endpoint that cannot be used keeps nothing from starting: its sources fail with the reason, which
//! is never a breach, and answer again by themselves once the file is replaced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_convex::{
    Answer, Endpoint, EndpointCredential, EndpointError, EndpointTarget, ask_all,
};
use rollout_core::{Source, Span};
use tracing::warn;

use crate::config::{EndpointConfig, Scheme};
use crate::credential::{Credential, CredentialError, Stamp};
use crate::telemetry::chain;
use crate::wiring::Condition;

/// All endpoints of the configuration.
#[derive(Debug)]
pub(crate) struct Endpoints {
    links: BTreeMap<String, Link>,
}

/// One endpoint and its client.
#[derive(Debug)]
struct Link {
    name: String,
    config: EndpointConfig,
    loaded: Mutex<Loaded>,
}

/// The client as made from one state of the credential file.
#[derive(Debug)]
struct Loaded {
    stamp: Option<Stamp>,
    endpoint: Result<Arc<Endpoint>, String>,
    remarks: Vec<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Endpoints {
    /// Prepares a client for each endpoint; sends nothing.
    pub(crate) fn new(configured: &BTreeMap<String, EndpointConfig>) -> Self {
        let link = |(name, config): (&String, &EndpointConfig)| {
            let loaded = Mutex::new(Loaded::from(name, config));
            (name.clone(), Link { name: name.clone(), config: config.clone(), loaded })
        };
        Self { links: configured.iter().map(link).collect() }
    }

    /// Asks all of `asks`, equal questions once; the answers are in the order asked.
    pub(crate) async fn ask(&self, asks: &[(&Source, Span)]) -> Vec<Answer> {
        ask_all(asks, |name| self.find(name)).await
    }

    /// The endpoint of a name.
    ///
    /// # Errors
    ///
    /// Words: nobody configured it, or why it cannot be used.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Endpoint>, String> {
        let Some(link) = self.links.get(name) else {
            let known: Vec<_> = self.links.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => String::from("none is configured yet"),
                known => format!("configured: {}", known.join(", ")),
            };
            return Err(format!("there is no endpoint `{name}` in the configuration; {known}"));
        };
        let used = link.now(|loaded| loaded.endpoint.clone());
        used.map_err(|reason| format!("endpoint {name} cannot be used: {reason}"))
    }

    /// How each endpoint stands now, for people.
    pub(crate) fn conditions(&self) -> BTreeMap<String, Condition> {
        let condition = |loaded: &Loaded| Condition {
            complaint: loaded.endpoint.as_ref().err().cloned(),
            remarks: loaded.remarks.clone(),
        };
        self.links.iter().map(|(name, link)| (name.clone(), link.now(condition))).collect()
    }
}

impl Link {
    /// Looks at the client, made anew when the credential file is no longer the one it was made from.
    fn now<T>(&self, look: impl FnOnce(&Loaded) -> T) -> T {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp(&self.config) != loaded.stamp {
            *loaded = Loaded::from(&self.name, &self.config);
        }
        look(&loaded)
    }
}

impl Loaded {
    /// Reads the credential and prepares the client; says what is wrong or should be known.
    fn from(name: &str, config: &EndpointConfig) -> Self {
        // The stamp comes first: a file that is replaced while it is read is read again.
        let stamp = stamp(config);
        let mut remarks = Vec::new();
        let endpoint = connect(name, config, &mut remarks).map_err(|error| chain(&error));
        for remark in &remarks {
            warn!(endpoint = name, "{remark}");
        }
        if let Err(reason) = &endpoint {
            warn!(endpoint = name, "endpoint cannot be used: {reason}");
        }
        Self { stamp, endpoint, remarks }
    }
}

fn connect(
    name: &str,
    config: &EndpointConfig,
    remarks: &mut Vec<String>,
) -> Result<Arc<Endpoint>, LinkError> {
    let credential = match &config.credential {
        None => None,
        Some((path, scheme)) => {
            let read = Credential::read(path)?;
            remarks.extend(read.warning);
            Some(match scheme {
                Scheme::Bearer => EndpointCredential::Bearer(read.key),
                Scheme::Basic => EndpointCredential::Basic(read.key),
            })
        }
    };
    let target = EndpointTarget {
        name: name.to_owned(),
        url: config.url.clone(),
        credential,
        timeout: config.timeout,
    };
    let endpoint = Endpoint::connect(target)?;
    remarks.extend_from_slice(endpoint.warnings());
    Ok(Arc::new(endpoint))
}

fn stamp(config: &EndpointConfig) -> Option<Stamp> {
    config.credential.as_ref().and_then(|(path, _)| Stamp::of(path))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use rollout_core::{HttpGet, SpanEnd};

    use super::*;

    fn endpoints(dir: &std::path::Path) -> Endpoints {
        // A port that nobody listens on; nothing must leave this machine.
        let config = EndpointConfig {
            url: "http://127.0.0.1:9".to_owned(),
            credential: Some((dir.join("m.pw"), Scheme::Basic)),
            timeout: Duration::from_secs(1),
        };
        Endpoints::new(&BTreeMap::from([("metrics".to_owned(), config)]))
    }

    async fn ask(endpoints: &Endpoints, name: &str) -> String {
        let source = Source::Http(HttpGet { endpoint: name.into(), path: "/".into() });
        let span =
            Span { from: Timestamp::UNIX_EPOCH, to: Timestamp::UNIX_EPOCH, end: SpanEnd::Now };
        match endpoints.ask(&[(&source, span)]).await.remove(0) {
            Answer::Failed(words) => words,
            answer @ (Answer::Told { .. } | Answer::Missing(_)) => panic!("{answer:?}"),
        }
    }

    #[tokio::test]
    async fn a_credential_that_is_missing_or_wrong_is_said_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let endpoints = endpoints(dir.path());
        assert_eq!(
            ask(&endpoints, "other").await,
            "there is no endpoint `other` in the configuration; configured: metrics"
        );
        let missing = ask(&endpoints, "metrics").await;
        assert!(missing.contains("cannot be used: there is no credential"), "{missing}");
        assert!(endpoints.conditions()["metrics"].complaint.is_some());

        let put = |text: &str| std::fs::write(dir.path().join("m.pw"), text).unwrap();
        put("hunter2hunter2");
        let wrong = ask(&endpoints, "metrics").await;
        assert!(wrong.contains("is not `user:password`") && !wrong.contains("hunter2"), "{wrong}");
        put("me:hunter2hunter2\n");
        assert_eq!(
            ask(&endpoints, "metrics").await,
            "could not connect to endpoint metrics: connection refused"
        );
        assert_eq!(endpoints.conditions()["metrics"].complaint, None);
    }
}
