//! What the deployment answers, against the core without sockets: one test binary, so that the
//! modules share their bench.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

mod app_metrics;
mod bench;
mod deployment;
mod executions;
