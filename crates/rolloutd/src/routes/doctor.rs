//! Owns `POST /v1/doctor` and `GET /v1/deployments/{name}`: what rollouts stand on, and what is on a deployment.
//!
//! Operators only, both: the first runs functions of the app, the second shows what somebody's deployment holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use rollout_api::{
    Code, DeploymentView, DoctorReport, DoctorRequest, Problem, VariableView, opposite, plan,
};
use rollout_core::{Plan, RolloutId};
use tracing::info;

use crate::doctor::daemon;
use crate::doctor::deployments::{self, DryStep};
use crate::view;

use super::App;
use super::body;
use super::operator::Operator;
use super::path::{DeploymentPath, bad_request};
use super::refusal::Refused;

/// `POST /v1/doctor`
pub(super) async fn doctor(
    State(app): State<Arc<App>>,
    Operator(actor): Operator,
    request: Request,
) -> Result<Json<DoctorReport>, Refused> {
    let request: DoctorRequest = body::take(body::read(request).await?)?;
    let plan = wanted_plan(&app, &request).await?;
    let dry_step = match (request.write_safe_values, &plan) {
        (false, _) => DryStep::No,
        (true, Some(plan)) => dry_step(&app, plan).await?,
        (true, None) => {
            return Err(bad_request(
                "`write_safe_values` needs a plan: it says which flags are meant",
            ));
        }
    };
    let writes = dry_step == DryStep::Yes;
    info!(actor, deployment = plan.as_ref().map(|plan| &plan.deployment), writes, "doctor");
    let engine = app.handle.status().await?;
    let store = view::store(&engine, app.begun_at, &app.quarantine);
    let mut itself = daemon::section(&store, &engine);
    if let (Some(plan), None) = (&plan, &request.rollout) {
        let rollouts = app.handle.list().await?;
        itself.findings.extend(daemon::in_the_way(&rollouts, plan, &url_of(&app, plan)));
    }
    let mut sections = vec![itself];
    let clock = app.clock.as_ref();
    let (deployments, endpoints) = (&app.deployments, &app.endpoints);
    let looked = deployments::sections(deployments, endpoints, plan.as_ref(), dry_step, clock);
    sections.extend(looked.await);
    Ok(Json(DoctorReport { sections }))
}

/// Where a plan's deployment is; empty when it cannot be used, which the doctor says elsewhere.
fn url_of(app: &App, plan: &Plan) -> String {
    app.deployments.find(&plan.deployment).map(|convex| convex.url().to_owned()).unwrap_or_default()
}

/// `GET /v1/deployments/{name}`
pub(super) async fn deployment(
    State(app): State<Arc<App>>,
    Operator(_): Operator,
    DeploymentPath(name): DeploymentPath,
) -> Result<Json<DeploymentView>, Refused> {
    let convex = app.deployments.find(&name)?;
    let survey = convex.survey().await.map_err(|fault| {
        let detail = format!("{}; `rolloutctl doctor` shows what is wrong", fault.reason);
        Refused::from(Problem::new(Code::DeploymentUnfit, detail))
    })?;
    let variables = survey.variables.into_iter().map(|(name, value)| {
        let value = opposite(&value).map(|_| value);
        VariableView { name, value }
    });
    let functions = survey.functions.ok();
    Ok(Json(DeploymentView {
        name,
        url: convex.url().to_owned(),
        variables: variables.collect(),
        functions: functions
            .map(|functions| functions.into_iter().map(|function| function.path).collect()),
    }))
}

async fn wanted_plan(app: &App, request: &DoctorRequest) -> Result<Option<Plan>, Refused> {
    match (&request.plan, &request.rollout) {
        (Some(_), Some(_)) => Err(bad_request("give a plan or a rollout, not both")),
        (Some(text), None) => {
            let plan = plan::parse(text).map_err(|errors| Refused::from(errors.to_problem()))?;
            Ok(Some(plan))
        }
        (None, Some(id)) => {
            let id = id.parse::<RolloutId>().map_err(|error| bad_request(error.to_string()))?;
            Ok(Some(app.handle.get(id).await?.plan().clone()))
        }
        (None, None) => Ok(None),
    }
}

/// A live rollout would take the dry step for somebody else's write.
async fn dry_step(app: &App, plan: &Plan) -> Result<DryStep, Refused> {
    let all = app.handle.list().await?;
    let live = all.iter().find(|rollout| {
        !rollout.status().is_terminal() && rollout.plan().deployment == plan.deployment
    });
    Ok(match live {
        Some(rollout) => DryStep::Refused(format!(
            "nothing was written: {} is live on {} and would take it for somebody else's change",
            rollout.id(),
            plan.deployment
        )),
        None => DryStep::Yes,
    })
}
