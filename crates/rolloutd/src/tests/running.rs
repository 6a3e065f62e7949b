//! A rollout as its readers see it: short, in full, as pages, as a stream, as a log; across a restart.

use rollout_api::RolloutStatus;
use rollout_api::client::ClientError;

use super::*;

#[tokio::test]
async fn a_small_plan_is_started_enabled_and_watched() {
    let mut world = World::new().await;
    let rollout = world.bake().await;
    assert_eq!((rollout.id.as_str(), rollout.deployment.as_str()), ("r1", "production"));
    assert_eq!(rollout.url, world.emulator.url());
    assert_eq!(world.emulator.env()[FLAG], "true");

    let detail = world.client().get("r1").await.unwrap();
    assert_eq!(detail.summary.status, RolloutStatus::Running);
    assert_eq!(detail.summary.headline, "phase 1 of 1 baking, 24h left");
    assert!(detail.summary.next_check.is_some() && !detail.summary.rolling_back);
    let phase = &detail.phases[0];
    assert_eq!((phase.stage.as_str(), phase.attempt), ("baking", 1));
    assert_eq!(phase.flags[0].seen.as_deref(), Some("true"));
    let labels: Vec<_> = phase.checkpoints.iter().map(|found| found.label.as_str()).collect();
    assert_eq!(labels, ["T+1h", "T+6h", "T+12h", "T+24h"]);
    assert_eq!(phase.bake.as_ref().unwrap().window_secs, 24 * 3_600);
    assert!(detail.allowed.iter().any(|verb| verb == "rollback"), "{:?}", detail.allowed);
    assert!(detail.waits.iter().any(|wait| wait.contains("bake window")), "{:?}", detail.waits);
    let reading = detail.last_reading.unwrap();
    assert_eq!(reading.verdict, "pass", "{reading:?}");

    let log = world.client().log("r1").await.unwrap();
    assert!(log.starts_with("# ") && log.contains(FLAG) && log.contains("T+24h"), "{log}");
    let status = world.client().status().await.unwrap();
    assert_eq!((status.live, status.ended, status.store.state), (1, 0, rollout_api::StoreWord::Ok));
    assert_eq!(world.client().list().await.unwrap().rollouts.len(), 1);
    world.stop().await;
    assert!(!world.socket().exists(), "the socket is taken away");
}

#[tokio::test]
async fn pages_and_streams_show_each_entry_once_from_wherever_they_begin() {
    let world = World::new().await;
    let id = world.bake().await.id;
    let client = world.client();
    let mut paged = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = client.events(&id, from, 4).await.unwrap();
        assert!(page.events.len() <= 4);
        paged.extend(page.events);
        after = page.next_after;
    }
    let count = paged.len() as u64;
    assert!(paged.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "{paged:?}");
    assert_eq!(paged[0].kind, "rollout_created");
    assert_eq!(paged[0].details["deployment"], "production");

    let mut stream = client.follow(&id, 3).await.unwrap();
    for expected in &paged[3..] {
        assert_eq!(soon(stream.next()).await.unwrap().as_ref(), Some(expected));
    }
    // What happens while the stream is open comes next, whoever made it happen.
    let held = client.order(&id, rollout_api::OrderVerb::Hold, &reason("lunch")).await.unwrap();
    let mut entry = soon(stream.next()).await.unwrap().unwrap();
    assert_eq!(entry.seq, count + 1);
    while entry.kind != "held" {
        let next = soon(stream.next()).await.unwrap().unwrap();
        assert_eq!(next.seq, entry.seq + 1);
        entry = next;
    }
    assert_eq!((entry.note.as_deref(), Some(&entry)), (Some("lunch"), held.events.first()));
    let nothing = client.events(&id, u64::MAX, 10).await.unwrap();
    assert_eq!((nothing.events.len(), nothing.next_after), (0, None));
}

#[tokio::test]
async fn a_restart_ends_streams_and_goes_on_where_it_was() {
    let mut world = World::new().await;
    let id = world.bake().await.id;
    let before = world.client().get(&id).await.unwrap();
    let mut stream = world.client().follow(&id, before.summary.seq).await.unwrap();
    world.stop().await;
    // Entries between the reading above and the stop may still come; then the stream ends without an error.
    while soon(stream.next()).await.unwrap().is_some() {}
    assert!(matches!(world.client().status().await, Err(ClientError::Unreachable { .. })));

    world.start().await;
    let after = world.client().get(&id).await.unwrap();
    assert_eq!(after.phases[0].bake, before.phases[0].bake);
    assert!(after.summary.seq > before.summary.seq, "that it was resumed is on record");
    assert_eq!(world.emulator.writes().len(), 1, "the flag was written once");
    world.stop().await;
}
