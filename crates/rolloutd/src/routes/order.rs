//! Owns `POST /v1/rollouts/{id}/{verb}`: an order as sent, made complete, given to the engine.
//!
//! Refuses fields that the verb has no use for: whoever sends `phase` with `hold` means something else.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use rollout_api::{Answer, Code, OrderRequest, OrderResponse, OrderScope, OrderVerb};
use rollout_core::{Command, IncidentNumber, Order, PhaseNumber, RollbackScope, Rollout};
use tracing::info;

use crate::view;

use super::App;
use super::body;
use super::operator::Operator;
use super::path::{OrderPath, bad_request};
use super::refusal::Refused;

/// Carries out an order.
pub(super) async fn order(
    State(app): State<Arc<App>>,
    OrderPath(id, verb): OrderPath,
    Operator(actor): Operator,
    request: Request,
) -> Result<Json<OrderResponse>, Refused> {
    let value = body::read(request).await?;
    if value.is_object() && value.get("reason").is_none_or(serde_json::Value::is_null) {
        return Err(rollout_engine::EngineError::from(rollout_core::Rejection::NoReason).into());
    }
    let asked: OrderRequest = body::take(value)?;
    check_fields(verb, &asked)?;
    let rollout = app.handle.get(id).await?;
    let command = command(verb, &asked, &rollout)?;
    info!(rollout = %id, verb = verb.path(), actor, "order");
    let order = Order { command, actor, reason: asked.reason };
    let obeyed = app.handle.order(id, order).await?;
    let plan = obeyed.rollout.plan();
    let answer = if obeyed.entries.is_empty() { Answer::Already } else { Answer::Accepted };
    Ok(Json(OrderResponse {
        answer,
        events: obeyed.entries.iter().map(|entry| view::entry(entry, plan)).collect(),
        rollout: view::short(&obeyed.rollout, app.clock.now()),
        notice: (verb == OrderVerb::Resume).then(|| view::comes_back(&obeyed)).flatten(),
    }))
}

fn check_fields(verb: OrderVerb, asked: &OrderRequest) -> Result<(), Refused> {
    use OrderVerb::{Approve, Check, Resolve, Rollback, Skip};
    let given = [
        ("phase", asked.phase.is_some(), matches!(verb, Approve | Check | Skip)),
        ("item", asked.item.is_some(), verb == Check),
        ("incident", asked.incident.is_some(), verb == Resolve),
        ("scope", asked.scope.is_some(), verb == Rollback),
    ];
    match given.into_iter().find(|(_, is_given, has_use)| *is_given && !has_use) {
        Some((field, ..)) => {
            Err(bad_request(format!("{} has no use for `{field}`; leave it out", verb.path())))
        }
        None => Ok(()),
    }
}

fn command(verb: OrderVerb, asked: &OrderRequest, on: &Rollout) -> Result<Command, Refused> {
    Ok(match verb {
        OrderVerb::Approve => Command::Approve(phase(asked, on)?),
        OrderVerb::Check => Command::Check { phase: phase(asked, on)?, item: item(asked)? },
        OrderVerb::Hold => Command::Hold,
        OrderVerb::Resume => Command::Resume,
        OrderVerb::Promote => Command::Promote,
        // Without a number, the same order sent twice would skip two phases.
        OrderVerb::Skip if asked.phase.is_none() => {
            return Err(bad_request("skip needs `phase`, the number of the phase to leave out"));
        }
        OrderVerb::Skip => Command::Skip(phase(asked, on)?),
        OrderVerb::Retry => Command::Retry,
        OrderVerb::Abort => Command::Abort,
        OrderVerb::Rollback => Command::Rollback(match asked.scope {
            None | Some(OrderScope::Latest) => RollbackScope::Latest,
            Some(OrderScope::All) => RollbackScope::All,
        }),
        OrderVerb::Resolve => Command::ResolveIncident(incident(asked, on)?),
    })
}

/// The phase that is meant: the one named, otherwise the current one, after the last phase the last one.
fn phase(asked: &OrderRequest, on: &Rollout) -> Result<PhaseNumber, Refused> {
    let last = on.phases().len().checked_sub(1).and_then(PhaseNumber::from_index);
    let number = match asked.phase {
        Some(number) => PhaseNumber::new(number),
        None => on.current().or(last),
    };
    number.ok_or_else(|| Refused::new(Code::UnknownPart, "phases are numbered from 1 on"))
}

fn item(asked: &OrderRequest) -> Result<String, Refused> {
    asked.item.clone().ok_or_else(|| {
        bad_request(
            "check needs `item`, the short name of a checklist item; GET the rollout to see them",
        )
    })
}

/// The incident that is meant: the one named, otherwise the only one that is open.
fn incident(asked: &OrderRequest, on: &Rollout) -> Result<IncidentNumber, Refused> {
    let unknown = |detail: String| Refused::new(Code::UnknownPart, detail);
    if let Some(number) = asked.incident {
        return IncidentNumber::new(number)
            .ok_or_else(|| unknown("incidents are numbered from 1 on".to_owned()));
    }
    let open = on.incidents().iter().filter(|incident| incident.resolved.is_none());
    let open: Vec<_> = open.map(|incident| incident.number).collect();
    match open.as_slice() {
        [only] => Ok(*only),
        [] => Err(unknown("no incident of this rollout is open".to_owned())),
        several => {
            let numbers: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(unknown(format!("say which incident: {} are open", numbers.join(", "))))
        }
    }
}
