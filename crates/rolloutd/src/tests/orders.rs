//! Orders: carried out, already so, or refused with what would be allowed.

use nix::unistd::{Uid, User};
use rollout_api::{Answer, OrderVerb};

use super::*;

#[tokio::test]
async fn an_order_is_carried_out_once_in_the_name_of_the_user() {
    let world = World::new().await;
    let id = world.bake().await.id;
    let client = world.client();
    let first = client.order(&id, OrderVerb::Hold, &reason("lunch")).await.unwrap();
    assert_eq!(first.answer, Answer::Accepted);
    let name = User::from_uid(Uid::current()).unwrap().map(|user| user.name);
    assert_eq!(Some(first.events[0].actor.as_str()), name.as_deref());
    assert!(first.rollout.holds[0].words.ends_with(": lunch"), "{:?}", first.rollout.holds);
    assert_eq!(first.rollout.headline, first.rollout.holds[0].words);
    let again = client.order(&id, OrderVerb::Hold, &reason("lunch")).await.unwrap();
    assert_eq!((again.answer, again.events.len()), (Answer::Already, 0));

    client.order(&id, OrderVerb::Rollback, &reason("enough")).await.unwrap();
    world.until(&id, "rollback_finished").await;
    assert_eq!(world.emulator.env()[FLAG], "false");
    let detail = client.get(&id).await.unwrap();
    assert!(detail.summary.rolled_back && !detail.summary.rolling_back);
    assert_eq!(detail.summary.open_incidents, [1]);
    let resolved = client.order(&id, OrderVerb::Resolve, &reason("it was a drill")).await.unwrap();
    assert!(resolved.rollout.open_incidents.is_empty(), "the only open incident is meant");
    let incident = &client.get(&id).await.unwrap().incidents[0];
    assert_eq!(incident.note.as_deref(), Some("it was a drill"));
}

#[tokio::test]
async fn a_refused_order_says_why_and_what_is_allowed() {
    let world = World::new().await;
    let id = world.bake().await.id;
    let order = async |verb: OrderVerb, order: OrderRequest| {
        refused(world.client().order(&id, verb, &order).await)
    };
    let nameless = order(OrderVerb::Skip, reason("hurry")).await;
    assert_eq!(nameless.code, "RO0402", "sent twice it would skip two phases");
    let phase_1 = OrderRequest { phase: Some(1), ..reason("hurry") };
    let skip = order(OrderVerb::Skip, phase_1).await;
    assert_eq!((skip.code.as_str(), skip.status), ("RO0301", 409));
    assert!(skip.allowed.iter().any(|verb| verb == "rollback"), "{:?}", skip.allowed);
    assert_eq!(order(OrderVerb::Hold, reason(" ")).await.code, "RO0303");
    assert_eq!(order(OrderVerb::Hold, reason(&"x".repeat(2_001))).await.code, "RO0303");
    let phase_9 = OrderRequest { phase: Some(9), ..reason("r") };
    assert_eq!(order(OrderVerb::Approve, phase_9.clone()).await.code, "RO0304");
    assert_eq!(order(OrderVerb::Hold, phase_9).await.code, "RO0402");
    let stranger = OrderRequest { item: Some("runbuk".into()), ..reason("r") };
    assert_eq!(order(OrderVerb::Check, stranger).await.code, "RO0304");
    assert_eq!(order(OrderVerb::Check, reason("r")).await.code, "RO0402");
    assert_eq!(order(OrderVerb::Resolve, reason("r")).await.code, "RO0304");
    let unknown = refused(world.client().order("r7", OrderVerb::Hold, &reason("r")).await);
    assert_eq!((unknown.code.as_str(), unknown.status), ("RO0302", 404));
    let (status, missing) = world.post("/v1/rollouts/r1/hold", "{}").await;
    assert_eq!((status, missing.code.as_str()), (422, "RO0303"));
}

#[tokio::test]
async fn only_operators_give_orders_and_everybody_may_read() {
    let mut world = World::stopped("[access]\noperators = [\"uid:3999999999\"]").await;
    world.write_key();
    world.start().await;
    let key = IdempotencyKey::random();
    let refusal = refused(world.client().start(&request(SMALL), &key).await);
    assert_eq!((refusal.code.as_str(), refusal.status), ("RO0403", 403));
    let hold = refused(world.client().order("r1", OrderVerb::Hold, &reason("r")).await);
    assert_eq!(hold.code, "RO0403");
    assert!(world.client().list().await.unwrap().rollouts.is_empty());
}
