//! Setting flags: what is written, how often, and what is reported when the answer is lost.

use convex_emulator::{Emulator, Fault, FaultKind, WriteOrigin};
use rollout_core::{FaultClass, Outcome};

use crate::raw::{RawServer, Reply, http, variables};
use crate::support::{adapter, deployment, fault, flags_set, key, set};

const UPDATE: &str = "update_environment_variables";
const LIST: &str = "list_environment_variables";

fn applied(emulator: &Emulator) -> usize {
    let ours =
        |write: &&convex_emulator::Write| write.applied && write.origin == WriteOrigin::Client;
    emulator.writes().iter().filter(ours).count()
}

fn requested(emulator: &Emulator, part: &str) -> usize {
    emulator.requests().iter().filter(|request| request.path.contains(part)).count()
}

#[tokio::test]
async fn only_what_differs_is_written_in_one_batch() {
    let (emulator, convex) = deployment("", &[("A", "true"), ("B", "false"), ("OTHER", "x")]).await;
    let effect = set(&[("A", "true"), ("B", "true"), ("C", "")]);
    assert_eq!(convex.perform(key(7), &effect).await, flags_set(&["B", "C"], &["A"]));
    let writes = emulator.writes();
    let [write] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(
        write.changes,
        [("B".into(), Some("true".into())), ("C".into(), Some(String::new()))]
    );
    assert_eq!(write.request_id.as_deref(), Some("r42-s7"));
    assert_eq!(write.user_agent.as_deref(), Some(concat!("rolloutd/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(emulator.env().get("OTHER").map(String::as_str), Some("x"));

    assert_eq!(convex.perform(key(7), &effect).await, flags_set(&[], &["A", "B", "C"]));
    assert_eq!(requested(&emulator, UPDATE), 1, "equal values were written again");
    assert_eq!(requested(&emulator, LIST), 3);
    let nothing = convex.perform(key(8), &set(&[])).await;
    assert_eq!((nothing, emulator.requests().len()), (flags_set(&[], &[]), 4));
}

#[tokio::test]
async fn a_cut_before_the_commit_is_unknown_and_the_next_try_writes() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::once(UPDATE, FaultKind::CutBeforeCommit));
    let effect = set(&[("A", "true"), ("B", "true")]);
    let lost = fault(convex.perform(key(1), &effect).await);
    assert_eq!(lost.class, FaultClass::Unknown);
    assert!(lost.reason.starts_with("lost the connection to deployment prod"), "{}", lost.reason);
    assert!(lost.reason.contains("A, B"), "{}", lost.reason);
    assert_eq!(
        (applied(&emulator), requested(&emulator, UPDATE)),
        (0, 1),
        "the adapter repeated a write"
    );
    assert_eq!(convex.perform(key(1), &effect).await, flags_set(&["A", "B"], &[]));
    assert_eq!(applied(&emulator), 1);
}

#[tokio::test]
async fn a_cut_after_the_commit_is_a_success_and_was_written_once() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    emulator.inject(Fault::once(UPDATE, FaultKind::CutAfterCommit));
    let effect = set(&[("A", "true")]);
    assert_eq!(convex.perform(key(1), &effect).await, flags_set(&["A"], &[]));
    assert_eq!(convex.perform(key(1), &effect).await, flags_set(&[], &["A"]));
    assert_eq!((applied(&emulator), requested(&emulator, UPDATE)), (1, 1));
}

#[tokio::test]
async fn a_cut_after_the_commit_with_no_read_back_is_settled_by_the_next_try() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    let effect = set(&[("A", "true")]);
    emulator.inject(Fault::once(UPDATE, FaultKind::CutAfterCommit));
    emulator.inject(Fault::once("api/v1/list", FaultKind::Slow { ms: 0 }));
    emulator.inject(Fault::once("api/v1/list", FaultKind::status(503, "ExpiredInQueue")));
    let unread = fault(convex.perform(key(1), &effect).await);
    assert_eq!(unread.class, FaultClass::Unknown);
    assert!(unread.reason.contains("reading the flags back failed too"), "{}", unread.reason);
    assert_eq!(convex.perform(key(1), &effect).await, flags_set(&[], &["A"]));
    assert_eq!(applied(&emulator), 1);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_settled_by_reading() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::once(UPDATE, FaultKind::Slow { ms: 10_000 }));
    assert_eq!(convex.perform(key(1), &set(&[("A", "true")])).await, flags_set(&["A"], &[]));
    emulator.inject(Fault::once(UPDATE, FaultKind::SlowDrop { ms: 10_000 }));
    let late = fault(convex.perform(key(2), &set(&[("A", "false")])).await);
    assert_eq!(late.class, FaultClass::Unknown);
    assert!(
        late.reason.starts_with("deployment prod did not answer within 1500 ms"),
        "{}",
        late.reason
    );
    assert_eq!(applied(&emulator), 1);
}

#[tokio::test]
async fn refusals_of_a_write_have_their_class_and_change_nothing() {
    let (emulator, convex) = deployment("", &[]).await;
    for (kind, class, code) in [
        (
            FaultKind::status(503, "OptimisticConcurrencyControlFailure"),
            FaultClass::Transient,
            true,
        ),
        (FaultKind::status(429, "TooManyWrites"), FaultClass::Transient, true),
        (FaultKind::status(500, "InternalServerError"), FaultClass::Unknown, true),
        (FaultKind::empty(408), FaultClass::Unknown, false),
        (FaultKind::empty(503), FaultClass::Unknown, false),
        (FaultKind::Html { status: 502 }, FaultClass::Unknown, false),
        (FaultKind::status(400, "EnvVarLimitMet"), FaultClass::Permanent, true),
    ] {
        emulator.inject(Fault::once(UPDATE, kind.clone()));
        let fault = fault(convex.perform(key(1), &set(&[("A", "true")])).await);
        assert_eq!(
            (fault.class, fault.code.is_some()),
            (class, code),
            "{kind:?}: {}",
            fault.reason
        );
        assert!(!fault.reason.contains('<'), "a page was quoted: {}", fault.reason);
    }
    assert_eq!(applied(&emulator), 0);
    assert_eq!(requested(&emulator, UPDATE), 7, "one request per try");
}

#[tokio::test]
async fn the_deployments_own_refusal_is_quoted() {
    let (emulator, convex) = deployment("", &[]).await;
    let effect = set(&[("A", "true"), ("CONVEX_CLOUD_URL", "x")]);
    let refused = fault(convex.perform(key(1), &effect).await);
    assert_eq!(
        (refused.class, refused.code.as_deref()),
        (FaultClass::Permanent, Some("EnvVarNameForbidden"))
    );
    assert!(
        refused.reason.starts_with("deployment prod refused the request (EnvVarNameForbidden): "),
        "{}",
        refused.reason
    );
    assert_eq!(emulator.env().get("A"), None, "a refused batch was applied in part");
}

#[tokio::test]
async fn a_revoked_key_names_what_a_person_must_do() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::once(UPDATE, FaultKind::RevokeKey));
    let revoked = fault(convex.perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(
        (revoked.class, revoked.code.as_deref()),
        (FaultClass::Permanent, Some("BadAdminKey"))
    );
    assert_eq!(
        revoked.reason,
        "the deployment refused the key (BadAdminKey); put a valid deploy key into the credential file of deployment prod"
    );
    assert_eq!(applied(&emulator), 0);
}

#[tokio::test]
async fn a_foreign_edit_between_reading_and_writing_does_not_matter() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    let edit = FaultKind::ForeignEdit { name: "A".into(), value: Some("maybe".into()) };
    emulator.inject(Fault::once(LIST, edit));
    assert_eq!(convex.perform(key(1), &set(&[("A", "true")])).await, flags_set(&["A"], &[]));
    assert_eq!(emulator.env().get("A").map(String::as_str), Some("true"));
}

#[tokio::test]
async fn a_value_that_is_gone_right_after_the_write_is_no_success() {
    let server = RawServer::start(|index, _| match index {
        1 => http(200, ""),
        _ => variables(&[("A", "false"), ("B", "true")]),
    });
    let server = server.await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let gone = fault(convex.perform(key(1), &set(&[("A", "true"), ("B", "true")])).await);
    assert_eq!(gone.class, FaultClass::Unknown);
    assert!(gone.reason.contains("not the wanted value: A; is somebody else"), "{}", gone.reason);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_write_whose_connection_is_refused_surely_did_not_happen() {
    let mut server = RawServer::start(|_, _| variables(&[])).await;
    let (url, convex) = (server.url.clone(), adapter(&server.url, "otter|0123456789abcdef"));
    server.close().await;
    let refused = fault(convex.perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(refused.class, FaultClass::Transient);
    assert_eq!(refused.reason, "could not connect to deployment prod: connection refused");
    assert_eq!(convex.url(), url);
}

#[tokio::test]
async fn old_servers_are_asked_at_their_own_paths_and_remembered() {
    let server = RawServer::start(|index, request| match request.split(' ').nth(1) {
        Some("/api/query") => {
            let set = if index < 6 { "false" } else { "true" };
            let rows =
                serde_json::json!([{"_id": "j", "_creationTime": 1.0, "name": "A", "value": set}]);
            http(200, &serde_json::json!({"status": "success", "value": rows}).to_string())
        }
        Some("/api/update_environment_variables") => http(200, ""),
        _ => http(404, ""),
    });
    let server = server.await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let paths = || -> Vec<String> {
        server
            .requests()
            .iter()
            .map(|request| request.split(' ').nth(1).unwrap().to_owned())
            .collect()
    };
    let list =
        ["/api/v1/list_environment_variables", "/api/list_environment_variables", "/api/query"];
    let update = ["/api/v1/update_environment_variables", "/api/update_environment_variables"];
    let first = convex.perform(key(1), &set(&[("A", "true")])).await;
    assert_eq!(fault(first).class, FaultClass::Unknown, "the value read back is still the old one");
    assert_eq!(paths(), [&list[..], &update[..], &["/api/query"]].concat());
    let second = convex.perform(key(1), &set(&[("A", "true")])).await;
    assert_eq!(second, flags_set(&[], &["A"]));
    assert_eq!(paths().len(), 7, "the old paths were forgotten: {:?}", paths());
}

#[tokio::test]
async fn a_server_that_knows_none_of_the_paths_is_named_and_may_come_back() {
    let server = RawServer::start(|_, _| http(404, "")).await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let missing = fault(convex.perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(missing.class, FaultClass::Transient);
    assert!(missing.reason.contains("check its URL"), "{}", missing.reason);
    assert!(
        server.requests().iter().all(|request| !request.contains(UPDATE)),
        "it wrote without having read"
    );
}

#[tokio::test]
async fn a_reset_while_writing_is_unknown_and_while_reading_is_not() {
    let server = RawServer::start(|index, _| match index {
        0 | 2 => variables(&[]),
        _ => Reply::Reset,
    });
    let server = server.await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let writing = convex.perform(key(1), &set(&[("A", "true")])).await;
    assert!(
        matches!(&writing, Outcome::Failed { fault, .. } if fault.class == FaultClass::Unknown),
        "{writing:?}"
    );
    assert_eq!(server.requests().len(), 3);
    let reading = convex.perform(key(1), &set(&[("A", "true")])).await;
    assert!(
        matches!(&reading, Outcome::Failed { fault, .. } if fault.class == FaultClass::Transient),
        "{reading:?}"
    );
    assert_eq!(server.requests().len(), 4);
}
