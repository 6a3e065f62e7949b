//! The faults themselves: that the library stands between the real daemon and the kernel, so that no other test passes
//! because nothing ever failed.

use std::os::unix::process::ExitStatusExt as _;

use rollout_api::StartRequest;
use rollout_api::client::IdempotencyKey;
use rollout_e2e::{
    Call, Counts, DiskError, Faults, GATED, Moment, SMALLEST, Setting, Tool, World, has_all,
};

use crate::PROGRAMS;

/// The number of SIGABRT on every Linux.
const SIGABRT: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_seen_and_an_abort_comes_when_it_is_due() {
    if !has_all("faults that come when they are due", &[Tool::Cc]) {
        return;
    }
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    let counts = world.dir().join("counts");
    world.set_faults(Faults::none().count(&counts));
    world.restart().await;
    world.begin(SMALLEST).await.until("rollout_completed").await;
    let seen = Counts::read(&counts);
    let each = [seen.sync, seen.send, seen.recv, seen.write];
    assert!(each.iter().all(|calls| *calls >= 3), "{seen:?}");

    let fresh = world.dir().join("fresh");
    let faults = Faults::none().abort(Call::Sync, Moment::Before, 1).count(&fresh);
    world.set_faults(faults);
    let stillborn = world.try_restart().await.expect_err("opening the store syncs it");
    assert_eq!(stillborn.status.signal(), Some(SIGABRT), "{}", stillborn.said);
    assert!(stillborn.said.contains("faults: abort before sync, call 1"), "{}", stillborn.said);
    assert_eq!(Counts::read(&fresh).sync, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_fails_while_it_is_told_to() {
    if !has_all("a disk that fails on demand", &[Tool::Cc]) {
        return;
    }
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    let control = world.dir().join("control");
    let state = world.state_dir();
    for error in [DiskError::Full, DiskError::Broken, DiskError::ReadOnly] {
        world.set_faults(Faults::none().controlled(&state, &control));
        world.restart().await;
        Faults::switch(&control, &[(Call::Write, error), (Call::Sync, error)]);
        let request = StartRequest { plan: GATED.to_string(), start_at: None, reason: None };
        let answer = world.client().start(&request, &IdempotencyKey::random()).await;
        answer.expect_err("what cannot be written is not accepted");
        Faults::switch(&control, &[]);
        world.set_faults(Faults::none());
        world.restart().await;
        assert!(world.client().list().await.unwrap().rollouts.is_empty(), "{error}");
    }
    world.begin(SMALLEST).await.until("rollout_completed").await;
}
