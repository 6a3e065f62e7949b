//! Owns the way to the files of the workspace: read once per test, in a fixed order, with paths relative to the root.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

/// A file of ours.
pub(crate) struct Source {
    /// Relative to the root, with slashes: `crates/rolloutd/src/main.rs`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Reads one file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads one manifest.
pub(crate) fn manifest(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The manifests of all members but the root's, in order. `fuzz/` is a workspace of its own, as its tool wants it.
pub(crate) fn members() -> Vec<(String, toml::Table)> {
    let all = paths_below("").into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let all = all.filter(|path| path != "fuzz/Cargo.toml");
    let members: Vec<_> = all.map(|path| (path.clone(), manifest(&path))).collect();
    assert!(members.len() >= 8, "only {} manifests were found", members.len());
    members
}

/// Every Rust file, in order.
pub(crate) fn rust_files() -> Vec<Source> {
    let all = paths_below("").into_iter().filter(|path| path.ends_with(".rs"));
    let files: Vec<_> = all.map(|path| Source { text: read(&path), path }).collect();
    assert!(files.len() >= 100, "only {} files were found", files.len());
    files
}

/// Every file below a directory, in order.
pub(crate) fn paths_below(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true if NOT_OURS.iter().any(|not_ours| name == *not_ours) => {}
                true => open.push(path),
                false => {
                    found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_string())
                }
            }
        }
    }
    found.sort();
    found
}
