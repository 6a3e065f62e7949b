//! Starting rollouts: what is accepted, what is refused, and what is the same request.

use super::*;

#[tokio::test]
async fn the_same_request_gives_the_same_rollout() {
    let world = World::new().await;
    let key = IdempotencyKey::new("deploy-7").unwrap();
    let first = world.client().start(&request(SMALL), &key).await.unwrap();
    let again = world.client().start(&request(SMALL), &key).await.unwrap();
    assert_eq!(first.answer, rollout_api::Answer::Accepted);
    assert_eq!(again.answer, rollout_api::Answer::Already);
    assert_eq!(first.rollout.id, again.rollout.id);
    let other = format!("{SMALL}\n# changed\n");
    let reused = refused(world.client().start(&request(&other), &key).await);
    assert_eq!(reused.code, "RO0307");
    let later =
        StartRequest { start_at: Some("2126-11-22T06:00:00Z".to_owned()), ..request(SMALL) };
    let explained = StartRequest { reason: Some("again".to_owned()), ..request(SMALL) };
    for other in [later, explained] {
        let reused = refused(world.client().start(&other, &key).await);
        assert_eq!((reused.code.as_str(), reused.status), ("RO0307", 422), "{other:?}");
    }
    let unsaid = StartRequest { reason: Some(" ".to_owned()), ..request(SMALL) };
    let again = world.client().start(&unsaid, &key).await.unwrap();
    assert_eq!(again.answer, rollout_api::Answer::Already, "no reason is no reason");

    let key = IdempotencyKey::random();
    let busy = refused(world.client().start(&request(&other), &key).await);
    assert_eq!((busy.code.as_str(), busy.status), ("RO0306", 409));
    assert!(busy.detail.contains("r1 is live on `production`"), "{}", busy.detail);
}

#[tokio::test]
async fn a_plan_is_refused_with_every_mistake_or_none_of_its_own() {
    let world = World::new().await;
    let start = async |plan: &str| {
        refused(world.client().start(&request(plan), &IdempotencyKey::random()).await)
    };
    let malformed = start("name = ").await;
    assert_eq!(malformed.code, "RO0101");
    let invalid = start(&SMALL.replace("\"24h\"", "\"soon\"").replace("name =", "nam =")).await;
    assert_eq!((invalid.code.as_str(), invalid.status), ("RO0102", 422));
    assert!(invalid.violations.len() >= 2, "{invalid:?}");
    assert!(invalid.violations.iter().all(|violation| !violation.message.is_empty()));
    let elsewhere = start(&SMALL.replace("\"production\"", "\"staging\"")).await;
    assert_eq!((elsewhere.code.as_str(), elsewhere.status), ("RO0305", 422));
    assert_eq!(elsewhere.violations[0].pointer, "/deployment");
    let window =
        "change_window = { cron = \"0 9 * * 1-5\", lasts = \"8h\", zone = \"Mars/Crater\" }";
    let zone = start(&format!("{SMALL}\n{window}\n")).await;
    assert_eq!(zone.code, "RO0102", "{zone:?}");
    assert!(world.client().list().await.unwrap().rollouts.is_empty());
}

#[tokio::test]
async fn a_missing_credential_refuses_rollouts_but_not_the_daemon() {
    let mut world = World::stopped("").await;
    world.start().await;
    let key = IdempotencyKey::random();
    let refusal = refused(world.client().start(&request(SMALL), &key).await);
    assert_eq!(refusal.code, "RO0305");
    assert!(refusal.detail.contains("production.key"), "{}", refusal.detail);
    let read_only = world.emulator.read_only_key();
    fs::write(world.dir.path().join("production.key"), read_only).unwrap();
    let refusal = refused(world.client().start(&request(SMALL), &key).await);
    assert!(refusal.detail.contains("the key lacks"), "{}", refusal.detail);
    world.write_key();
    let started = world.client().start(&request(SMALL), &key).await.unwrap();
    assert_eq!(started.rollout.id, "r1");
}

#[tokio::test]
async fn whoever_starts_where_a_rollout_is_quarantined_hears_of_its_flags() {
    let mut world = World::new().await;
    let id = world.bake().await.id;
    world.stop().await;
    let (store, before) = (world.dir.path().join("state/store"), world.dir.path().join("before"));
    copy(&store, &before);
    world.start().await;
    world.client().order(&id, rollout_api::OrderVerb::Hold, &reason("lunch")).await.unwrap();
    world.stop().await;
    // A database that went back in time under its witness, as a disk that forgets leaves it.
    for found in fs::read_dir(&store).unwrap().map(Result::unwrap) {
        if found.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(found.path()).unwrap();
        }
    }
    fs::copy(before.join("db"), store.join("db")).unwrap();
    world.start_over(OnDamage::SetAside).await;

    let status = world.client().status().await.unwrap().store;
    assert_eq!(status.quarantined, ["r1"]);
    let known = &status.salvaged[0];
    assert_eq!((known.id.as_str(), known.deployment.as_str()), ("r1", "production"));
    assert_eq!(known.flags, [FLAG]);
    let notice = world.client().list().await.unwrap().notice.unwrap();
    assert!(notice.contains(&format!("r1 on production ({FLAG})")), "{notice}");
    let started = world.client().start(&request(SMALL), &IdempotencyKey::random()).await.unwrap();
    assert_eq!((started.rollout.id.as_str(), started.warnings.len()), ("r2", 0));
    let notice = started.notice.unwrap();
    assert!(notice.starts_with("r1 is quarantined") && notice.contains(FLAG), "{notice}");
    world.stop().await;
}
