//! The house rules as tests: arrows between crates, shape of files, where a library may be named, and that what must be
//! written down is.

#![expect(clippy::unwrap_used, reason = "all of this is a test; a panic is how it fails")]

mod arrows;
mod pages;
mod sources;
mod tree;
