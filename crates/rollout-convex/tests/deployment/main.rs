//! Performs effects against deployments over real sockets: the emulator, and servers that send raw bytes.

#![expect(
    clippy::unwrap_used,
    reason = "functions that tests share fail a test like the tests themselves"
)]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected fails the test")]

mod app_metrics;
mod bytes;
mod changes;
mod connections;
mod executions;
mod flags;
mod in_time;
mod invoke;
mod keys;
mod preflight;
mod raw;
mod readings;
mod simulated;
mod slow;
mod support;
