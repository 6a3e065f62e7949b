//! Owns the look around after the power is back: is everything there that was acknowledged, and does everything go on?

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rollout_api::client::Client;
use rollout_api::{JournalEntry, RolloutSummary};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::load::Acknowledged;

/// Longest time until a live rollout is read again: ten minutes of the plans' time, a sixth of a second of real time.
const WAKE_MAX: Duration = Duration::from_secs(30);
/// What the daemon's journal says of a rollout that waits for nothing.
const NOTHING_WAKES: &str = "nothing will wake this rollout";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What was acknowledged and is not there, or is another.
    pub(crate) lost: Vec<String>,
    /// Live rollouts that nothing wakes.
    pub(crate) stuck: Vec<String>,
}

/// Looks at a daemon that has just started.
///
/// # Errors
///
/// When it does not answer.
pub(crate) async fn look(
    socket: &Path,
    told: &[Acknowledged],
    said: &str,
) -> Result<Findings, String> {
    let client = Client::unix(socket).map_err(|error| error.to_string())?;
    let list = client.list().await.map_err(|error| format!("no list: {error:?}"))?;
    let mut journals = BTreeMap::new();
    for summary in &list.rollouts {
        journals.insert(summary.id.clone(), journal(&client, &summary.id).await?);
    }
    let lost = told.iter().filter_map(|told| missing(told, &journals)).collect();
    let mut stuck: Vec<_> =
        said.lines().filter(|line| line.contains(NOTHING_WAKES)).map(String::from).collect();
    let mut waiting = JoinSet::new();
    for summary in list.rollouts.into_iter().filter(|summary| !summary.is_ended()) {
        waiting.spawn(is_asleep(client.clone(), summary));
    }
    while let Some(asleep) = waiting.join_next().await {
        stuck.extend(asleep.map_err(|error| error.to_string())?);
    }
    Ok(Findings { lost, stuck })
}

async fn journal(client: &Client, id: &str) -> Result<Vec<JournalEntry>, String> {
    let mut entries: Vec<JournalEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let page = client.events(id, after, 500).await;
        let page = page.map_err(|error| format!("no journal of {id}: {error:?}"))?;
        if page.events.is_empty() {
            return Ok(entries);
        }
        entries.extend(page.events);
    }
}

/// What is wrong with something acknowledged; `None` = it is there, to the letter.
fn missing(told: &Acknowledged, journals: &BTreeMap<String, Vec<JournalEntry>>) -> Option<String> {
    match told {
        Acknowledged::Started { rollout } => match journals.get(rollout) {
            Some(journal) if !journal.is_empty() => None,
            Some(_) | None => Some(format!("{rollout} was started and is not there")),
        },
        Acknowledged::Happened { rollout, entry } => {
            let index = usize::try_from(entry.seq).ok()?.checked_sub(1)?;
            let found = journals.get(rollout).and_then(|journal| journal.get(index));
            if found == Some(&**entry) {
                return None;
            }
            let found = found.map_or("nothing", |found| found.text.as_str());
            Some(format!("{rollout} {}: told `{}`, found `{found}`", entry.seq, entry.text))
        }
    }
}

/// A live rollout must say what it waits for, and then really be looked at, held or not.
async fn is_asleep(client: Client, summary: RolloutSummary) -> Option<String> {
    let RolloutSummary { id, seq, headline, .. } = summary;
    let detail = match client.get(&id).await {
        Ok(detail) => detail,
        Err(error) => return Some(format!("{id} cannot be shown: {error:?}")),
    };
    let names_a_wait = detail.summary.next_deadline.is_some() || !detail.waits.is_empty();
    if !detail.summary.is_ended() && !names_a_wait {
        return Some(format!("{id} ({headline}) waits for nothing"));
    }
    let woken = async {
        let mut stream = client.follow(&id, seq).await.ok()?;
        loop {
            let entry = stream.next().await.ok()??;
            let is_over = matches!(entry.kind.as_str(), "rollout_completed" | "rollout_aborted");
            if entry.kind == "reading_taken" || is_over {
                return Some(());
            }
        }
    };
    match timeout(WAKE_MAX, woken).await {
        Ok(Some(())) => None,
        Ok(None) => Some(format!("{id} ({headline}): its stream ended")),
        Err(_) => Some(format!("{id} ({headline}) was not looked at for {WAKE_MAX:?}")),
    }
}
