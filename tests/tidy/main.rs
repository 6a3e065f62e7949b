//! The house rules as tests: arrows between crates, shape of files, where a library may be named, and that what must be
//! written down is.

mod arrows;
mod pages;
mod sources;
mod tree;
