//! Owns the talk with the service manager: ready, stopping, a status line, and the watchdog.
//!
//! The watchdog is fed only while the driver's loop turns. A timer of its own would go on feeding it for a daemon that
//! watches nothing any more. Without a service manager all of this is silent.

use std::time::Duration;

use rollout_engine::store::Origin;
use rollout_engine::{EngineStatus, Handle, StoreState};
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

/// How often the status line is renewed, and the watchdog fed where it wants no more.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// How long the engine may take to say how it is.
const STATUS_MAX: Duration = Duration::from_secs(2);

/// Says that every rollout is armed and the socket is open.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the daemon is on its way out.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Feeds the watchdog while the driver turns, and keeps the status line, until `stopping` says so.
pub(crate) async fn tend(handle: Handle, store: Origin, mut stopping: watch::Receiver<bool>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let every = sd_notify::watchdog_enabled().map_or(TEND_EVERY, feed_every);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fed_at = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.changed() => return,
        }
        let turns = handle.turns();
        if fed_at == Some(turns) {
            warn!(turns, "the driver has not turned since the last look; the watchdog is not fed");
            continue;
        }
        fed_at = Some(turns);
        tell(&[NotifyState::Watchdog]);
        if let Ok(Some(line)) = tokio::time::timeout(STATUS_MAX, status_line(&handle, store)).await
        {
            tell(&[NotifyState::Status(&line)]);
        }
    }
}

/// Often enough that two feeds may be lost, but never more often than the driver surely turns (every five seconds).
fn feed_every(limit: Duration) -> Duration {
    (limit / 3).clamp(Duration::from_secs(6), TEND_EVERY)
}

async fn status_line(handle: &Handle, store: Origin) -> Option<String> {
    let status = handle.status().await.ok()?;
    let EngineStatus { live, held, ended, .. } = status;
    let line = words(live, held, status.store.state);
    Some(match (store, live + ended) {
        (Origin::Created, 0) => format!("{line}; the store is new and empty"),
        (Origin::Created | Origin::Reopened, _) => line,
    })
}

fn words(live: usize, held: usize, store: StoreState) -> String {
    let rollouts = match (live, held) {
        (0, _) => "no rollout is live".to_owned(),
        (live, 0) => format!("{live} live"),
        (live, held) => format!("{live} live, {held} held"),
    };
    match store {
        StoreState::Well => rollouts,
        StoreState::Reserve => format!("{rollouts}; disk full, nothing is turned on (RO0211)"),
        StoreState::Failing => {
            format!("{rollouts}; NOTHING IS RECORDED, flags are watched (RO0210)")
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_in_time_but_not_faster_than_the_driver_turns() {
        assert_eq!(feed_every(Duration::from_secs(60)), Duration::from_secs(10));
        assert_eq!(feed_every(Duration::from_secs(24)), Duration::from_secs(8));
        assert_eq!(feed_every(Duration::from_secs(10)), Duration::from_secs(6));
    }

    #[test]
    fn the_status_line_is_short() {
        assert_eq!(words(0, 0, StoreState::Well), "no rollout is live");
        assert_eq!(words(3, 0, StoreState::Well), "3 live");
        assert_eq!(words(3, 1, StoreState::Well), "3 live, 1 held");
        assert_eq!(
            words(3, 1, StoreState::Failing),
            "3 live, 1 held; NOTHING IS RECORDED, flags are watched (RO0210)"
        );
    }
}
