//! Owns the wires to the endpoints: which web server or Prometheus server a source asks, with the credential of now.
//!
//! As with deployments, a client is made when it is first needed and shared from then on, and made anew when its credential
//! file is another one. An endpoint that cannot be used keeps nothing from starting: its sources fail with the reason, which
//! is never a breach, and answer again by themselves once the file is replaced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use rollout_convex::{
    Answer, Convex, Endpoint, EndpointCredential, EndpointError, EndpointTarget, ask_all,
};
use rollout_core::{Effect, EffectKey, Measurement, Observation, Outcome, Reading, SourceQuery};
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

    /// Performs an effect on a deployment. Of a reading, the sources that are asked elsewhere are asked at the same time; its
    /// measurements are in the order of the sources.
    ///
    /// Cancel safety: that of [`Convex::perform`]; the endpoints are only read.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "`wiring` calls it once plans can name endpoints")
    )]
    pub(crate) async fn perform(
        &self,
        convex: &Convex,
        key: EffectKey,
        effect: &Effect,
    ) -> Outcome {
        let Effect::Observe(observation) = effect else {
            return convex.perform(key, effect).await;
        };
        let sources = observation.sources.iter().cloned();
        let (elsewhere, here): (Vec<_>, Vec<_>) =
            sources.partition(|query| query.ask.endpoint().is_some());
        let rest = Effect::Observe(Observation { sources: here, ..observation.clone() });
        let asks: Vec<_> = elsewhere.iter().map(|query| (&query.ask, query.span)).collect();
        let asked = ask_all(&asks, |name| self.find(name));
        let (outcome, answers) = join(convex.perform(key, &rest), asked).await;
        let Outcome::Observed(reading) = outcome else { return outcome };
        let measurements = merged(&observation.sources, reading.measurements, answers);
        Outcome::Observed(Reading { measurements, ..reading })
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

/// All measurements in the order of the sources: those of the deployment, which are in that order, and the answers of the
/// endpoints.
fn merged(
    sources: &[SourceQuery],
    here: Vec<Measurement>,
    answers: Vec<Answer>,
) -> Vec<Measurement> {
    let (mut here, mut answers) = (here.into_iter(), answers.into_iter());
    let mut all = Vec::new();
    for query in sources {
        if query.ask.endpoint().is_none() {
            all.extend(here.by_ref().take(query.metrics.len()));
        } else if let Some(answer) = answers.next() {
            all.extend(query.metrics.iter().map(|metric| Measurement {
                criterion: metric.criterion.clone(),
                measured: answer.measured(&metric.pointer, metric.unit),
                basis: answer.basis(),
            }));
        }
    }
    all
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
    use std::path::Path;
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};
    use rollout_convex::Target;
    use rollout_core::{
        FunctionCall, HttpGet, Known, Measured, MetricQuery, RolloutId, Seq, Source, Span, SpanEnd,
        Unit,
    };

    use super::*;

    /// A port that nobody listens on; nothing must leave this machine.
    const NOWHERE: &str = "http://127.0.0.1:9";

    fn endpoints(dir: &Path) -> Endpoints {
        let config = EndpointConfig {
            url: NOWHERE.to_owned(),
            credential: Some((dir.join("m.pw"), Scheme::Basic)),
            timeout: Duration::from_secs(1),
        };
        Endpoints::new(&BTreeMap::from([("metrics".to_owned(), config)]))
    }

    fn http(endpoint: &str) -> Source {
        Source::Http(HttpGet { endpoint: endpoint.into(), path: "/".into() })
    }

    fn query(ask: Source, criteria: &[&str]) -> SourceQuery {
        let metric = |criterion: &&str| MetricQuery {
            criterion: (*criterion).to_owned(),
            pointer: String::new(),
            unit: Unit::Count,
            alert: None,
        };
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        SourceQuery {
            source: "s".into(),
            ask,
            span: Span { from, to, end: SpanEnd::Now },
            stay: SignedDuration::ZERO,
            cursor: None,
            metrics: criteria.iter().map(metric).collect(),
        }
    }

    /// Reads these sources on a deployment that is away: each criterion, and why there is no value for it.
    async fn read(endpoints: &Endpoints, sources: Vec<SourceQuery>) -> Vec<(String, String)> {
        let target = Target {
            name: "p".into(),
            url: NOWHERE.into(),
            key: "otter|0123456789".into(),
            timeout: Duration::from_secs(1),
        };
        let convex = Convex::connect(target).unwrap();
        let key = EffectKey { rollout: RolloutId::FIRST, seq: Seq::FIRST };
        let observation = Observation {
            flags: Vec::new(),
            known: Known::default(),
            sources,
            probes: Vec::new(),
            bindings: BTreeMap::new(),
        };
        let outcome = endpoints.perform(&convex, key, &Effect::Observe(observation)).await;
        let Outcome::Observed(reading) = outcome else { panic!("{outcome:?}") };
        let measurements = reading.measurements.into_iter();
        let failed = measurements.map(|one| match one.measured {
            Measured::Failed(words) => (one.criterion, words),
            measured @ (Measured::Number(_) | Measured::Text(_) | Measured::Missing(_)) => {
                panic!("{measured:?}")
            }
        });
        failed.collect()
    }

    async fn ask(endpoints: &Endpoints, name: &str) -> String {
        read(endpoints, vec![query(http(name), &["a"])]).await.remove(0).1
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

    #[tokio::test]
    async fn a_reading_has_every_source_in_its_place_wherever_it_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let function = || Source::Function(FunctionCall { path: "m:f".into(), args: "{}".into() });
        let sources = vec![
            query(http("x"), &["a", "b"]),
            query(function(), &["c", "d"]),
            query(http("y"), &["e"]),
            query(function(), &["f"]),
        ];
        let found = read(&endpoints(dir.path()), sources).await;
        let found: Vec<_> = found
            .iter()
            .map(|(criterion, words)| {
                let place = ["endpoint `x`", "endpoint `y`", "deployment p"];
                let place = place.into_iter().find(|place| words.contains(place));
                (criterion.as_str(), place.unwrap_or(words))
            })
            .collect();
        let (x, y, p) = ("endpoint `x`", "endpoint `y`", "deployment p");
        assert_eq!(found, [("a", x), ("b", x), ("c", p), ("d", p), ("e", y), ("f", p)]);
    }
}
