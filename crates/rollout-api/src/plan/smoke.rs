//! Owns `[smoke]`: the test after the last phase.

use jiff::SignedDuration;
use rollout_core::{SmokeRepeat, SmokeTest};

use super::top::function;
use super::tree::Node;

const KEYS: [&str; 12] = [
    "name",
    "create",
    "create_args",
    "id_pointer",
    "poll",
    "poll_args",
    "state_pointer",
    "success",
    "failure",
    "timeout",
    "every",
    "repeat",
];

/// Reads the smoke test.
pub(super) fn read(node: &Node<'_>) -> Option<SmokeTest> {
    let table = node.table(&KEYS)?;
    let words = [("safe", SmokeRepeat::Safe), ("never", SmokeRepeat::Never)];
    let failure = table.list("failure");
    Some(SmokeTest {
        name: table.text_or("name", "smoke-test"),
        create: function(&table, "create", "create_args", "{}", &["$key"]),
        id_pointer: table.text_or("id_pointer", ""),
        poll: function(&table, "poll", "poll_args", r#"{"id":"$id"}"#, &["$id"]),
        state_pointer: table.text_or("state_pointer", "/status"),
        success: table.text_or("success", "success"),
        failure: failure.iter().filter_map(|node| node.text().map(str::to_string)).collect(),
        timeout: table.duration_or("timeout", SignedDuration::from_mins(10)),
        every: table.duration_or("every", SignedDuration::from_secs(15)),
        repeat: table
            .optional("repeat")
            .and_then(|node| node.word(&words))
            .unwrap_or(SmokeRepeat::Never),
    })
}
