//! The engine from outside: every scenario straight, with a crash at each commit, and with each effect performed twice. The
//! end must be the same.

#![expect(clippy::wildcard_enum_match_arm, reason = "a script picks the few events it is about")]

mod clocks;
mod dark;
mod deployment;
mod run;
mod scenarios;
