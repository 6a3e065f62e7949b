//! Owns where the demo's files are: a directory for the engine, its key and its messages, and the log at the end.
//!
//! Refuses to overwrite anything: every name is one that was free. The socket lies in a temporary directory in any case,
//! because its path may not be long.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::DemoError;

/// Names tried before giving up: `rollout-log-r1.md`, `rollout-log-r1-2.md` …
const NAMES_MAX: u32 = 10_000;
/// How much of the engine's messages a failure shows.
const LAST_WORDS_BYTES: usize = 2_000;

/// The demo's directories. The temporary one is removed with the value.
#[derive(Debug)]
pub(super) struct Place {
    runtime: TempDir,
    engine: PathBuf,
    keep: Option<PathBuf>,
}

impl Place {
    /// Makes the directories.
    pub(super) fn prepare(keep: Option<&Path>) -> Result<Self, DemoError> {
        let runtime = tempfile::Builder::new().prefix("rolloutd-demo-").tempdir();
        let runtime = runtime.map_err(|source| at(&std::env::temp_dir(), source))?;
        // Absolute: the daemon takes no other paths.
        let keep = match keep {
            None => None,
            Some(keep) => {
                let made = fs::create_dir_all(keep).and_then(|()| keep.canonicalize());
                Some(made.map_err(|source| at(keep, source))?)
            }
        };
        let inside = keep.as_deref().unwrap_or(runtime.path());
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let (engine, ()) = at_free_name(inside, "engine", "", make)?;
        for name in ["state", "credentials"] {
            let path = engine.join(name);
            make(&path).map_err(|source| at(&path, source))?;
        }
        Ok(Self { runtime, engine, keep })
    }

    /// Writes the daemon's configuration and the deployment's key.
    pub(super) fn write_config(
        &self,
        deployment: &str,
        url: &str,
        key: &str,
    ) -> Result<(), DemoError> {
        let credentials = self.engine.join("credentials");
        let name = format!("{deployment}.key");
        write_private(&credentials.join(&name), key)?;
        let text = |path: &Path| toml::Value::String(path.display().to_string());
        let config = format!(
            "state_dir = {}\nsocket = {}\ncredentials_dir = {}\n\n[deployments.{deployment}]\nurl = {}\ncredential = {}\n",
            text(&self.engine.join("state")),
            text(&self.socket()),
            text(&credentials),
            toml::Value::String(url.to_string()),
            toml::Value::String(name),
        );
        write_private(&self.config(), &config)
    }

    /// The daemon's configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.engine.join("rolloutd.toml")
    }

    /// Where the daemon listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.runtime.path().join("rolloutd.sock")
    }

    /// Where the daemon says that it is ready.
    pub(super) fn notify_socket(&self) -> PathBuf {
        self.runtime.path().join("notify.sock")
    }

    /// A file that the daemon's messages are added to.
    pub(super) fn engine_messages(&self) -> Result<File, DemoError> {
        let path = self.messages_path();
        OpenOptions::new().create(true).append(true).open(&path).map_err(|source| at(&path, source))
    }

    /// The end of the daemon's messages.
    pub(super) fn last_words(&self) -> String {
        let bytes = fs::read(self.messages_path()).unwrap_or_default();
        let from = bytes.len().saturating_sub(LAST_WORDS_BYTES);
        match String::from_utf8_lossy(&bytes[from..]).trim() {
            "" => "(it said nothing)".to_string(),
            words => words.to_string(),
        }
    }

    /// Writes the rollout's log under a free name.
    pub(super) fn save_log(&self, id: &str, log: &str) -> Result<PathBuf, DemoError> {
        let inside = self.keep.clone().unwrap_or_else(|| PathBuf::from("."));
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let (path, mut file) = at_free_name(&inside, &format!("rollout-log-{id}"), ".md", create)?;
        file.write_all(log.as_bytes()).map_err(|source| at(&path, source))?;
        Ok(path)
    }

    /// Where the engine's state stays, when it does.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.keep.as_ref().map(|_| self.engine.as_path())
    }

    fn messages_path(&self) -> PathBuf {
        self.engine.join("engine.log")
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), DemoError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| at(path, source))
}

/// Makes something under the first name that nobody has: `name`, `name-2`, `name-3` …
fn at_free_name<T>(
    inside: &Path,
    name: &str,
    suffix: &str,
    make: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), DemoError> {
    let mut path = inside.join(format!("{name}{suffix}"));
    for number in 2..=NAMES_MAX {
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = inside.join(format!("{name}-{number}{suffix}"));
            }
            Err(source) => return Err(at(&path, source)),
        }
    }
    Err(at(&path, io::ErrorKind::AlreadyExists.into()))
}

fn at(path: &Path, source: io::Error) -> DemoError {
    DemoError::File { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_is_ever_overwritten() {
        let keep = TempDir::new().unwrap();
        let first = Place::prepare(Some(keep.path())).unwrap();
        let second = Place::prepare(Some(keep.path())).unwrap();
        assert_ne!(first.config(), second.config());
        let logs = ["one", "two", "three"].map(|text| first.save_log("r1", text).unwrap());
        let names = logs.each_ref().map(|path| path.file_name().unwrap().to_str().unwrap());
        assert_eq!(names, ["rollout-log-r1.md", "rollout-log-r1-2.md", "rollout-log-r1-3.md"]);
        assert_eq!(fs::read_to_string(&logs[0]).unwrap(), "one");
    }

    #[test]
    fn the_key_is_for_its_owner_only() {
        let place = Place::prepare(None).unwrap();
        place.write_config("production", "http://127.0.0.1:1", "otter|secret").unwrap();
        let key = place.engine.join("credentials/production.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let config: toml::Table = fs::read_to_string(place.config()).unwrap().parse().unwrap();
        assert_eq!(
            config["deployments"]["production"]["credential"].as_str(),
            Some("production.key")
        );
        assert!(!config.to_string().contains("secret"));
    }
}
