//! Owns what is known of rollouts that are quarantined, so that nobody goes on as if they had never been: which deployment and
//! which flags each was about, and what is said of them to whoever starts a rollout there.
//!
//! Refuses to guess: where nothing can be read of a rollout, its id alone is said, for every deployment.

use std::path::Path;

use rollout_api::SalvagedView;
use rollout_core::{Plan, RolloutId};
use rollout_engine::store::{Quarantined, Salvaged, salvaged};

/// All rollouts that are quarantined, as this process found them when it opened the store; none is added while it runs.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Vec<(RolloutId, Option<Salvaged>)>);

impl Quarantine {
    /// Reads what can be read of each; `dir` is the store's directory.
    pub(crate) fn read(dir: &Path, asides: &[Quarantined]) -> Self {
        Self(asides.iter().map(|aside| (aside.rollout, salvaged(dir, aside))).collect())
    }

    /// What those were about of which that is known.
    pub(crate) fn salvaged(&self) -> Vec<SalvagedView> {
        let known = self.0.iter().filter_map(|(id, known)| Some((id, known.as_ref()?)));
        known
            .map(|(id, known)| SalvagedView {
                id: id.to_string(),
                deployment: known.deployment.clone(),
                flags: known.flags.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }

    /// The flags that a rollout may have left on, where they are known: `on production: ENABLE_ONE, ENABLE_TWO`.
    pub(crate) fn flags_of(&self, rollout: RolloutId) -> Option<String> {
        let (_, known) = self.0.iter().find(|(id, _)| *id == rollout)?;
        known.as_ref().map(|known| format!("on {}: {}", known.deployment, flags(known)))
    }

    /// What whoever starts a plan on the deployment at `url` should know: a line for each rollout that may have left flags on there.
    pub(crate) fn notice(&self, plan: &Plan, url: &str) -> Option<String> {
        let line = |(id, known): &(RolloutId, Option<Salvaged>)| match known {
            None => Some(format!(
                "{id} is quarantined and cannot be read: it may have left flags on, here or elsewhere, and nobody watches them (RO0208)"
            )),
            // Two names of one address are one deployment.
            Some(known) if known.deployment == plan.deployment || known.url == url => {
                Some(format!(
                    "{id} is quarantined: it may have left flags of {} on, and nobody watches them: {} (RO0208)",
                    known.deployment,
                    flags(known)
                ))
            }
            Some(_) => None,
        };
        let lines: Vec<_> = self.0.iter().filter_map(line).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

fn flags(known: &Salvaged) -> String {
    known.flags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rollout_api::plan;
    use rollout_core::FlagName;

    use super::*;

    #[test]
    fn whoever_starts_hears_of_what_may_be_on_there_and_of_what_nobody_knows() {
        let plan = plan::parse(include_str!("../../../examples/small.toml")).unwrap();
        let known = |deployment: &str, url: &str| {
            let flags = ["ONE", "TWO"].map(|name| FlagName::new(name).unwrap()).to_vec();
            Some(Salvaged { deployment: deployment.into(), url: url.into(), flags })
        };
        let id = |number| RolloutId::new(number).unwrap();
        let on = |all: Vec<_>| Quarantine(all).notice(&plan, "https://p");
        assert_eq!(on(vec![]), None);
        assert_eq!(on(vec![(id(2), known("staging", "https://s"))]), None);
        let told = on(vec![
            (id(2), known("production", "https://s")),
            (id(3), known("prod-too", "https://p")),
            (id(4), None),
        ]);
        let told = told.unwrap();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines[0],
            "r2 is quarantined: it may have left flags of production on, and nobody watches them: ONE, TWO (RO0208)"
        );
        assert!(lines[1].starts_with("r3 is quarantined") && lines[1].contains("ONE, TWO"));
        assert!(lines[2].starts_with("r4 is quarantined and cannot be read"), "{told}");
    }
}
