//! Owns what a plan needs of a deployment: flags, functions with the part they play, sources with their criteria.
//!
//! Read off the plan once; the checks know nothing of plans. Refuses to merge: a function that is named twice is wanted
//! twice, so that each place in the plan file gets its own line of a refusal.

use std::collections::BTreeMap;

use rollout_core::{Criterion, FlagChange, FlagName, Plan, Probe, ProbeKind, Proof, Source};

/// What a plan needs of a deployment. The default needs only what every rollout does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Flags with their two values.
    pub flags: BTreeMap<FlagName, FlagChange>,
    /// Functions that are called.
    pub functions: Vec<Wanted>,
    /// Health sources by name.
    pub sources: BTreeMap<String, Source>,
    /// What is read from the sources.
    pub criteria: Vec<Criterion>,
}

/// A function that a plan names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As the plan spells it.
    pub path: String,
    /// What it is for.
    pub role: Role,
    /// Where the plan names it: a JSON pointer.
    pub pointer: String,
}

/// What a function is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asked again and again: a source, a probe, the poll of the smoke test. Should be a query.
    Asked,
    /// Called once to create something. Must be able to.
    Creates,
    /// Named in the log for people; never called.
    Mentioned,
}

impl Needs {
    /// What this plan needs.
    pub fn of(plan: &Plan) -> Self {
        let sources = plan.sources.iter();
        let mut needs = Self {
            flags: plan.phases.iter().flat_map(|phase| phase.flags.clone()).collect(),
            functions: Vec::new(),
            sources: sources.map(|(name, source)| (name.clone(), source.clone())).collect(),
            criteria: plan.criteria.clone(),
        };
        needs.name_functions(plan);
        needs
    }

    fn name_functions(&mut self, plan: &Plan) {
        let of_source = |(name, source): (&String, &Source)| match source {
            Source::Function(call) => {
                let pointer = format!("/sources/{}", name.replace('~', "~0").replace('/', "~1"));
                Some(Wanted { path: call.path.clone(), role: Role::Asked, pointer })
            }
            Source::Executions(_)
            | Source::AppMetrics(_)
            | Source::Http(_)
            | Source::Prometheus(_) => None,
        };
        let mut wanted: Vec<_> = self.sources.iter().filter_map(of_source).collect();
        let mut want = |path: &str, role, pointer: String| {
            wanted.push(Wanted { path: path.to_owned(), role, pointer });
        };
        let mut ask = |probe: &Probe, pointer: String| match &probe.kind {
            ProbeKind::Function { call, .. } => want(&call.path, Role::Asked, pointer),
            ProbeKind::VariableSet(_) => {}
        };
        let machine = |proof: &Proof| match proof {
            Proof::Machine(probe) => Some(probe.clone()),
            Proof::Person | Proof::ThresholdsSet => None,
        };
        let mut items = |items: &[rollout_core::ChecklistItem], list: &str| {
            for (index, item) in items.iter().enumerate() {
                if let Some(probe) = machine(&item.proof) {
                    ask(&probe, format!("{list}/{index}"));
                }
            }
        };
        items(&plan.checklist, "/checklist");
        for (number, phase) in plan.phases.iter().enumerate() {
            items(&phase.before, &format!("/phases/{number}/before"));
            items(&phase.after, &format!("/phases/{number}/after"));
        }
        for (number, phase) in plan.phases.iter().enumerate() {
            if let Some(only_when) = &phase.only_when {
                ask(&only_when.probe, format!("/phases/{number}/only_when"));
            }
            for (index, probe) in phase.verify.iter().enumerate() {
                ask(probe, format!("/phases/{number}/verify/{index}"));
            }
        }
        if let Some(smoke) = &plan.smoke {
            want(&smoke.create.path, Role::Creates, String::from("/smoke/create"));
            want(&smoke.poll.path, Role::Asked, String::from("/smoke/poll"));
        }
        for (index, (_, path)) in plan.reference.iter().enumerate() {
            want(path, Role::Mentioned, format!("/reference/{index}"));
        }
        self.functions = wanted;
    }

    /// The functions that the plan calls, in one spelling.
    pub(super) fn called(&self) -> impl Iterator<Item = &Wanted> {
        self.functions.iter().filter(|wanted| wanted.role != Role::Mentioned)
    }
}
