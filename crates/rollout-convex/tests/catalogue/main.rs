//! Every error that a deployment, or what stands before it, is known to answer with: how it is sorted, what people read,
//! when it is tried again, and that nothing is done twice. Over real sockets, against servers that send exactly that.

#![expect(
    clippy::unwrap_used,
    reason = "functions that tests share fail a test like the tests themselves"
)]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected fails the test")]

mod cases;
mod deprecation;
mod drive;
mod page;
#[expect(dead_code, reason = "the other test target needs more of it")]
#[path = "../deployment/raw.rs"]
mod raw;
mod rows;
mod stopped;
#[path = "../deployment/support.rs"]
mod support;
mod unknown;
