//! A rollout as its readers see it: short, in full, as pages, as a stream, as a log; across a restart.

use rollout_api::client::ClientError;
use rollout_api::{OrderVerb, Position, RolloutStatus};

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
    let end = client.get(&id).await.unwrap().summary.seq;
    let nothing = client.events(&id, end, 10).await.unwrap();
    assert_eq!((nothing.events.len(), nothing.next_after), (0, None));
    for beyond in [end + 500, u64::MAX] {
        assert_eq!(refused(client.events(&id, beyond, 10).await).code, "RO0310");
        let followed = refused(client.follow(&id, beyond).await);
        assert_eq!((followed.code.as_str(), followed.status), ("RO0310", 409));
    }
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

#[tokio::test]
async fn whoever_has_read_the_journal_before_a_restore_is_told_that_it_is_another_one() {
    let mut world = World::new().await;
    let id = world.bake().await.id;
    world.stop().await;
    let (state, before) = (world.dir.path().join("state"), world.dir.path().join("before"));
    copy(&state, &before);
    world.start().await;
    let read = hold_and_resume(&world, &id).await;
    let place = Position::from(read.last().unwrap());
    world.stop().await;
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&before, &state).unwrap();
    world.start().await;

    let refusal = refused(world.client().follow(&id, place.clone()).await);
    assert_eq!((refusal.code.as_str(), refusal.status), ("RO0310", 409));
    assert!(refusal.detail.contains(&place.to_string()), "{}", refusal.detail);
    // The same once this journal is as long: what stands there is something else.
    let mut anew = hold_and_resume(&world, &id).await;
    while anew.len() < read.len() {
        anew = hold_and_resume(&world, &id).await;
    }
    let refusal = refused(world.client().follow(&id, place.clone()).await);
    assert_eq!(refusal.code, "RO0310", "{}", refusal.detail);
    // A place of this journal is none of the other's, and a number alone is only a number.
    let own = Position::from(&anew[read.len() - 1]);
    assert!(own.seq == place.seq && own != place);
    for after in [own, place.seq.into()] {
        world.client().follow(&id, after).await.unwrap();
    }
    world.stop().await;
}

/// Lets a journal grow; all of it.
async fn hold_and_resume(world: &World, id: &str) -> Vec<JournalEntry> {
    for verb in [OrderVerb::Hold, OrderVerb::Resume] {
        world.client().order(id, verb, &reason("a look")).await.unwrap();
    }
    world.client().events(id, 0, 1_000).await.unwrap().events
}
