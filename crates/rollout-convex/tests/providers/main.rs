//! One suite that every kind of health source passes: what it says when all is well, and on each kind of bad day.
//!
//! A provider is a source behind real HTTP that can be put into each [`suite::Case`]; the suite asks it as a reading would
//! and judges what it says with the core's own criterion. To add one: a struct that implements [`suite::Provider`], a test
//! of three lines. A provider names the cases it cannot be put into, with the reason; the others must all run.

#![expect(
    clippy::unwrap_used,
    reason = "functions that tests share fail a test like the tests themselves"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a fixture names the cases that it treats differently"
)]

mod function;
mod http;
mod prometheus;
mod promserver;
mod server;
mod suite;
mod tool;
