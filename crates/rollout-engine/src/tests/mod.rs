//! The engine from outside: every scenario straight, with a crash at each commit, and with each effect performed twice. The
//! end must be the same.

mod deployment;
mod run;
mod scenarios;
