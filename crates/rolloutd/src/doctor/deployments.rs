//! Owns the doctor's look at deployments: the adapter's preflight, as the wire has it.
//!
//! Invariant: all deployments together take at most [`LOOK_MAX`] and [`DRY_STEP_MAX`], since they are looked at side by side.

use std::time::Duration;

use futures_util::future::{join, join_all};
use rollout_api::{DoctorSection, FindingState, FindingView};
use rollout_convex::{Finding, Needs, Standing};
use rollout_core::Plan;
use rollout_engine::Clock;

use crate::endpoints::Endpoints;
use crate::wiring::Deployments;

/// How long the look at one deployment may take.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(15);
/// How long the dry step may take.
const DRY_STEP_MAX: Duration = Duration::from_secs(4);

/// What is wanted besides looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DryStep {
    /// Nothing.
    No,
    /// Flags are set to the safe values that they have.
    Yes,
    /// It is wanted, and there is a reason against it.
    Refused(String),
}

/// Looks at the plan's deployment and endpoints for what the plan needs, or at every one for what any rollout needs.
pub(crate) async fn sections(
    deployments: &Deployments,
    endpoints: &Endpoints,
    plan: Option<&Plan>,
    dry_step: DryStep,
    clock: &dyn Clock,
) -> Vec<DoctorSection> {
    let Some(plan) = plan else {
        let needs = Needs::default();
        let each =
            deployments.names().map(|name| section(deployments, name, &needs, DryStep::No, clock));
        let (mut sections, others) =
            join(join_all(each), super::endpoints::of_all(endpoints, clock.now())).await;
        sections.extend(others);
        return sections;
    };
    let needs = Needs::of(plan);
    let (first, others) = join(
        section(deployments, &plan.deployment, &needs, dry_step, clock),
        super::endpoints::of_needs(endpoints, &needs, clock.now()),
    )
    .await;
    std::iter::once(first).chain(others).collect()
}

async fn section(
    deployments: &Deployments,
    name: &str,
    needs: &Needs,
    dry_step: DryStep,
    clock: &dyn Clock,
) -> DoctorSection {
    let convex = match deployments.find(name) {
        Ok(convex) => convex,
        Err(unfit) => {
            let advice = "put it right in rolloutd.toml or in its credential file; `rolloutd serve --check` shows all of them";
            let finding = fail("credential", unfit.to_string(), advice);
            return DoctorSection { title: format!("deployment {name}"), findings: vec![finding] };
        }
    };
    let condition = deployments.conditions().remove(name).unwrap_or_default();
    let remarks =
        condition.remarks.into_iter().filter(|remark| !convex.warnings().contains(remark));
    let mut findings: Vec<_> = remarks
        .map(|remark| {
            warn(
                "credential",
                remark,
                "take the file's permissions away from everybody else: chmod 600",
            )
        })
        .collect();
    let looked = convex.preflight(needs, LOOK_MAX, &|| clock.now()).await;
    findings.extend(looked.into_iter().map(view));
    // Said in the headers of any answer, so the look itself finds it.
    let announced = convex.deprecation();
    findings.extend(announced.map(|words| {
        warn(
            "version",
            words,
            "install a newer rolloutd before the deployment refuses this one; rollouts go on after the restart",
        )
    }));
    match dry_step {
        DryStep::No => {}
        DryStep::Refused(why) => findings.push(warn("dry step", why, "wait until it has ended")),
        DryStep::Yes => {
            let step = tokio::time::timeout(DRY_STEP_MAX, convex.dry_step(needs)).await;
            findings.push(match step {
                Ok(finding) => view(finding),
                Err(_) => unknown(
                    "dry step",
                    "the deployment did not answer in time; it may have written the values that were there",
                    "run it again",
                ),
            });
        }
    }
    DoctorSection { title: format!("deployment {name} ({})", convex.url()), findings }
}

/// A finding of the adapter as the wire has it.
pub(crate) fn view(finding: Finding) -> FindingView {
    let place = finding.pointer.map(|pointer| format!(" (in the plan: {pointer})"));
    FindingView {
        check: finding.check.to_owned(),
        state: match finding.standing {
            Standing::Well => FindingState::Ok,
            Standing::Warn => FindingState::Warn,
            Standing::Unknown => FindingState::Unknown,
            Standing::Fail => FindingState::Fail,
        },
        found: finding.found + &place.unwrap_or_default(),
        advice: finding.advice,
    }
}

/// Something that is as it should be.
pub(crate) fn ok(check: &str, found: impl Into<String>) -> FindingView {
    line(check, FindingState::Ok, found.into(), None)
}

/// Something that is allowed and should be known.
pub(crate) fn warn(check: &str, found: impl Into<String>, advice: &str) -> FindingView {
    line(check, FindingState::Warn, found.into(), Some(advice))
}

/// Something that could not be found out.
pub(crate) fn unknown(check: &str, found: impl Into<String>, advice: &str) -> FindingView {
    line(check, FindingState::Unknown, found.into(), Some(advice))
}

/// Something with which nothing works.
pub(crate) fn fail(check: &str, found: impl Into<String>, advice: &str) -> FindingView {
    line(check, FindingState::Fail, found.into(), Some(advice))
}

fn line(check: &str, state: FindingState, found: String, advice: Option<&str>) -> FindingView {
    FindingView { check: check.to_owned(), state, found, advice: advice.map(str::to_owned) }
}
