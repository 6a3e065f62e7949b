//! Whether a deployment runs functions, and what it says when it does not.
//!
//! The texts are the ones that clients match on, because the wire has no code for them.

use serde::Deserialize;

/// Whether a deployment runs functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It does.
    Running,
    /// A person paused it.
    Paused,
    /// It exceeded a limit.
    Disabled,
    /// Convex suspended it.
    Suspended,
}

/// What a disabled deployment exceeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisabledBy {
    /// The limits of the free plan.
    FreePlan,
    /// A limit on spending.
    Spending,
    /// A limit on usage that somebody configured.
    #[default]
    UsageLimit,
}

impl RunState {
    /// The state as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Suspended => "suspended",
        }
    }
}

impl RunState {
    /// Why no function runs, as clients are told; `None` while they do.
    pub(crate) fn refusal(self, disabled_by: DisabledBy) -> Option<&'static str> {
        match self {
            Self::Running => None,
            Self::Paused => Some(PAUSED),
            Self::Disabled => Some(disabled_by.words()),
            Self::Suspended => Some(SUSPENDED),
        }
    }
}

impl DisabledBy {
    fn words(self) -> &'static str {
        match self {
            Self::FreePlan => {
                "You have exceeded the free plan limits, so your deployments have been disabled. Please upgrade to a Pro plan or reach out to us at support@convex.dev for help."
            }
            Self::Spending => {
                "You have exceeded your spending limits, so your deployments have been disabled. Please increase your spending limit on the Convex dashboard or wait until limits reset."
            }
            Self::UsageLimit => {
                "This deployment has been disabled because it exceeded a configured usage limit."
            }
        }
    }
}

const PAUSED: &str = "Cannot run functions while this deployment is paused. Resume the deployment in the dashboard settings to allow functions to run.";
const SUSPENDED: &str =
    "Cannot run functions while this deployment is suspended. Please contact support.";
