//! Owns the wires to the deployments: which adapter an effect is for.
//!
//! One adapter per deployment, made when it is first needed and shared from then on, so that connections are used again. A
//! deployment without a usable credential does not keep the daemon from starting, since other rollouts must be watched:
//! its effects fail with the reason, and go on by themselves once the credential file is replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollout_convex::{Convex, ConvexError, Finding, Needs, Target};
use rollout_core::{Fault, FaultClass, PendingEffect};
use rollout_engine::Clock;
use tracing::warn;

use crate::config::DeploymentConfig;
use crate::credential::{Credential, CredentialError, Stamp};
use crate::telemetry::chain;

/// How long the look at a deployment may hold up the start of a rollout. A deployment that is away is no reason to refuse:
/// the baseline waits for it.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(5);

/// All deployments of the configuration.
#[derive(Debug)]
pub(crate) struct Deployments {
    links: BTreeMap<String, Link>,
}

/// One deployment and its adapter.
#[derive(Debug)]
struct Link {
    name: String,
    config: DeploymentConfig,
    time: Time,
    loaded: Mutex<Loaded>,
}

/// The clock that readings are by.
#[derive(Clone)]
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// The adapter as made from one state of the credential file.
#[derive(Debug)]
struct Loaded {
    stamp: Option<Stamp>,
    convex: Result<Arc<Convex>, String>,
    /// What is allowed but should be known.
    remarks: Vec<String>,
}

/// How a deployment stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Why it cannot be used, if so.
    pub(crate) complaint: Option<String>,
    /// What is allowed but should be known.
    pub(crate) remarks: Vec<String>,
}

/// A deployment on which a rollout may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Where it answers.
    pub(crate) url: String,
    /// Why the rollout will have to wait, where the deployment is away.
    pub(crate) away: Option<String>,
}

/// Why a rollout cannot be run on a deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Nobody configured it.
    #[error("there is no deployment `{name}` in the configuration; {}", known_words(.known))]
    Unknown {
        /// The name in the plan.
        name: String,
        /// The names in the configuration.
        known: Vec<String>,
    },
    /// It is configured, and cannot be used.
    #[error("deployment {name} cannot be used: {reason}")]
    Unusable {
        /// The name.
        name: String,
        /// Why, and the way out.
        reason: String,
    },
    /// It was asked, and cannot run this plan.
    #[error("deployment {name} cannot run this plan: {}", found_words(.findings))]
    Barred {
        /// The name.
        name: String,
        /// Everything that keeps it from that; never empty.
        findings: Vec<Finding>,
    },
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Convex(#[from] ConvexError),
}

impl Deployments {
    /// Makes an adapter for each deployment; sends nothing. `clock` is the one that readings are by.
    pub(crate) fn new(
        configured: &BTreeMap<String, DeploymentConfig>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let link = |(name, config): (&String, &DeploymentConfig)| {
            let time = Time(Arc::clone(clock));
            (name.clone(), Link::new(name.clone(), config.clone(), time))
        };
        Self { links: configured.iter().map(link).collect() }
    }

    /// Where a deployment answers and what should be known of it, if a rollout with these needs can be run on it: it is configured, has a credential, its
    /// key permits what is needed, and the functions are there, all as far as the deployment says.
    ///
    /// # Errors
    ///
    /// [`Unfit`] with the way out.
    pub(crate) async fn admit(
        &self,
        name: &str,
        needs: &Needs,
        clock: &dyn Clock,
    ) -> Result<Admitted, Unfit> {
        let convex = self.find(name)?;
        // Only a definite no keeps a rollout from starting; a deployment that is away is tried again by the rollout itself.
        let admission = convex.admission(needs, LOOK_MAX, &|| clock.now()).await;
        match admission.bars.is_empty() {
            true => Ok(Admitted { url: convex.url().to_owned(), away: admission.away }),
            false => Err(Unfit::Barred { name: name.to_owned(), findings: admission.bars }),
        }
    }

    /// The names of all deployments.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.links.keys()
    }

    /// How each deployment stands now, for people.
    pub(crate) fn conditions(&self) -> BTreeMap<String, Condition> {
        let condition = |link: &Link| Condition {
            complaint: link.adapter().err(),
            remarks: link.lock().remarks.clone(),
        };
        self.links.iter().map(|(name, link)| (name.clone(), condition(link))).collect()
    }

    /// The adapter that was used last, for what it knows already; whether it is still the right one is not looked at.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Convex>> {
        self.links.get(name)?.lock().convex.clone().ok()
    }

    /// The adapter of a deployment.
    ///
    /// # Errors
    ///
    /// [`Unfit`], never [`Unfit::Barred`].
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Convex>, Unfit> {
        let Some(link) = self.links.get(name) else {
            let known = self.links.keys().cloned().collect();
            return Err(Unfit::Unknown { name: name.to_owned(), known });
        };
        link.adapter().map_err(|reason| Unfit::Unusable { name: name.to_owned(), reason })
    }
}

impl Deployments {
    /// The adapter that an effect is for.
    ///
    /// # Errors
    ///
    /// What the effect ends with instead.
    pub(crate) fn adapter_for(&self, effect: &PendingEffect) -> Result<Arc<Convex>, Fault> {
        match self.find(&effect.deployment) {
            Ok(convex) if convex.url() != effect.url => Err(moved(effect, convex.url())),
            Ok(convex) => Ok(convex),
            Err(unfit) => Err(unfit.fault()),
        }
    }
}

/// The configuration now names another deployment than the one the rollout began on. Nothing of the rollout may reach it.
fn moved(effect: &PendingEffect, now: &str) -> Fault {
    let PendingEffect { deployment, url, .. } = effect;
    let reason = format!(
        "this rollout began on {url}, but the configuration now has {now} for `{deployment}`; put the URL back and restart rolloutd"
    );
    Fault::new(FaultClass::Permanent, None, reason)
}

impl Link {
    fn new(name: String, config: DeploymentConfig, time: Time) -> Self {
        let loaded = Mutex::new(Loaded::from(&name, &config, &time));
        Self { name, config, time, loaded }
    }

    /// The adapter, made anew when the credential file is no longer the one it was made from.
    fn adapter(&self) -> Result<Arc<Convex>, String> {
        let mut loaded = self.lock();
        if Stamp::of(&self.config.credential) != loaded.stamp {
            *loaded = Loaded::from(&self.name, &self.config, &self.time);
        }
        loaded.convex.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// Reads the credential and prepares the adapter; says what is wrong or should be known.
    fn from(name: &str, config: &DeploymentConfig, time: &Time) -> Self {
        let stamp = Stamp::of(&config.credential);
        let mut remarks = Vec::new();
        let convex = connect(name, config, time, &mut remarks).map_err(|error| chain(&error));
        for remark in &remarks {
            warn!(deployment = name, "{remark}");
        }
        if let Err(reason) = &convex {
            warn!(deployment = name, "deployment cannot be used: {reason}");
        }
        Self { stamp, convex, remarks }
    }
}

impl Unfit {
    /// What an effect on such a deployment ends with. Nothing was sent.
    fn fault(&self) -> Fault {
        let class = match self {
            Self::Unknown { .. } | Self::Barred { .. } => FaultClass::Permanent,
            Self::Unusable { .. } => FaultClass::Transient,
        };
        Fault::new(class, None, self.to_string())
    }
}

fn connect(
    name: &str,
    config: &DeploymentConfig,
    time: &Time,
    remarks: &mut Vec<String>,
) -> Result<Arc<Convex>, LinkError> {
    let credential = Credential::read(&config.credential)?;
    remarks.extend(credential.warning);
    let target = Target {
        name: name.to_owned(),
        url: config.url.clone(),
        key: credential.key,
        timeout: config.timeout,
    };
    let convex = Convex::connect(target)?;
    remarks.extend_from_slice(convex.warnings());
    let clock = Arc::clone(&time.0);
    let passed = move || Duration::try_from(clock.moment().elapsed).unwrap_or_default();
    Ok(Arc::new(convex.in_time_of(passed)))
}

fn found_words(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.found.as_str()).collect::<Vec<_>>().join("; ")
}

fn known_words(known: &[String]) -> String {
    match known {
        [] => "none is configured yet".to_owned(),
        known => format!("configured: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rollout_core::{Effect, EffectKey, RolloutId, Seq, WritePurpose};
    use rollout_engine::SystemClock;

    use super::*;

    fn deployments(dir: &Path) -> Deployments {
        let config = DeploymentConfig {
            url: "http://127.0.0.1:9".to_owned(),
            credential: dir.join("p.key"),
            timeout: Duration::from_secs(1),
        };
        let clock = Arc::new(SystemClock::new()) as _;
        Deployments::new(&BTreeMap::from([("p".to_owned(), config)]), &clock)
    }

    async fn admit(deployments: &Deployments) -> Result<Admitted, Unfit> {
        deployments.admit("p", &Needs::default(), &SystemClock::new()).await
    }

    async fn fault(deployments: &Deployments, deployment: &str) -> Fault {
        let effect =
            Effect::SetFlags { changes: BTreeMap::new(), purpose: WritePurpose::RestoreSafe };
        let key = EffectKey { rollout: RolloutId::FIRST, seq: Seq::FIRST };
        let url = "http://127.0.0.1:9".to_owned();
        let pending = PendingEffect { key, deployment: deployment.to_owned(), url, effect };
        deployments.adapter_for(&pending).unwrap_err()
    }

    #[tokio::test]
    async fn an_unknown_deployment_needs_a_person_and_a_missing_credential_heals() {
        let dir = tempfile::tempdir().unwrap();
        let deployments = deployments(dir.path());
        let unknown = fault(&deployments, "q").await;
        assert_eq!(unknown.class, FaultClass::Permanent);
        assert_eq!(
            unknown.reason,
            "there is no deployment `q` in the configuration; configured: p"
        );
        let missing = fault(&deployments, "p").await;
        assert_eq!(missing.class, FaultClass::Transient);
        assert!(missing.reason.contains("there is no credential"), "{}", missing.reason);
        let complaint = |deployments: &Deployments| deployments.conditions()["p"].complaint.clone();
        assert!(complaint(&deployments).is_some());

        std::fs::write(dir.path().join("p.key"), "otter|01").unwrap();
        assert_eq!(complaint(&deployments), None);
        // A deployment that is away does not keep a rollout from starting.
        let admitted = admit(&deployments).await.unwrap();
        assert_eq!(admitted.url, "http://127.0.0.1:9");
        let away = admitted.away.unwrap();
        assert!(away.starts_with("could not connect to deployment p"), "{away}");
    }

    #[tokio::test]
    async fn nothing_of_a_rollout_reaches_another_deployment_than_its_own() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p.key"), "otter|01").unwrap();
        let deployments = deployments(dir.path());
        let effect =
            Effect::SetFlags { changes: BTreeMap::new(), purpose: WritePurpose::RestoreSafe };
        let key = EffectKey { rollout: RolloutId::FIRST, seq: Seq::FIRST };
        let (deployment, url) = ("p".to_owned(), "http://127.0.0.1:8".to_owned());
        let pending = PendingEffect { key, deployment, url, effect };
        let fault = deployments.adapter_for(&pending).unwrap_err();
        assert_eq!(fault.class, FaultClass::Permanent);
        assert!(fault.reason.contains("began on http://127.0.0.1:8"), "{}", fault.reason);
    }

    #[tokio::test]
    async fn a_key_of_the_wrong_kind_is_said_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p.key"), "project:team:app|topsecret").unwrap();
        let said = admit(&deployments(dir.path())).await.unwrap_err().to_string();
        assert!(said.contains("names no deployment") && !said.contains("topsecret"), "{said}");
    }
}
