//! Owns the person in the demo: ticks what a person must tick and approves what a person must approve, through the API,
//! in the name of whoever runs the demo.
//!
//! Knows nothing but what the API shows, and does nothing a person could not do with `rolloutctl`.

use rollout_api::client::{Client, ClientError};
use rollout_api::{ItemView, ItemWhen, OrderRequest, OrderVerb, PhaseView};

/// Ticks the open items before a phase and gives the approvals it asks for. Says what was done, in words.
pub(super) async fn open_gates(
    client: &Client,
    id: &str,
    number: u8,
) -> Result<Vec<String>, ClientError> {
    let Some(phase) = phase(client, id, number).await? else { return Ok(Vec::new()) };
    let mut done = tick(client, id, &phase, ItemWhen::Before).await?;
    if phase.approved_by.len() < usize::from(phase.approvals_needed) {
        let reason = format!("demo operator: phase {number} looks good to go");
        let order = OrderRequest { reason, phase: Some(number), ..OrderRequest::default() };
        client.order(id, OrderVerb::Approve, &order).await?;
        done.push("approved".to_string());
    }
    Ok(done)
}

/// Ticks the open items after a phase was enabled. Says what was done, in words.
pub(super) async fn conclude(
    client: &Client,
    id: &str,
    number: u8,
) -> Result<Vec<String>, ClientError> {
    match phase(client, id, number).await? {
        Some(phase) => tick(client, id, &phase, ItemWhen::After).await,
        None => Ok(Vec::new()),
    }
}

async fn tick(
    client: &Client,
    id: &str,
    phase: &PhaseView,
    when: ItemWhen,
) -> Result<Vec<String>, ClientError> {
    let open = |item: &&ItemView| item.when == when && !item.by_machine && !item.done;
    let mut done = Vec::new();
    for item in phase.items.iter().filter(open) {
        let reason = format!("demo operator: {}", item.text);
        let order = OrderRequest {
            reason,
            phase: Some(phase.number),
            item: Some(item.name.clone()),
            ..OrderRequest::default()
        };
        client.order(id, OrderVerb::Check, &order).await?;
        done.push(item.text.clone());
    }
    Ok(done)
}

async fn phase(client: &Client, id: &str, number: u8) -> Result<Option<PhaseView>, ClientError> {
    let detail = client.get(id).await?;
    Ok(detail.phases.into_iter().find(|phase| phase.number == number))
}
