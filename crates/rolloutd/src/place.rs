//! Owns where the commands that look after the store find it: by the configuration, or by a directory that is named.
//!
//! Refuses to touch a store as another user than its owner: files of root in it would keep the daemon from starting.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::unistd::{Uid, User};
use rollout_api::Exit;

use crate::config::{CONFIG_PATH, Config, Surroundings};

/// Where the store is.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The configuration, for the state directory and the socket
    #[arg(long, value_name = "PATH", default_value = CONFIG_PATH, conflicts_with = "state_dir")]
    pub(crate) config: PathBuf,
    /// The state directory itself, without a configuration; the store is in `store` below it
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// A store's directory, and the socket of the daemon that may hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) store: PathBuf,
    pub(crate) socket: Option<PathBuf>,
}

/// Why a command about the store was not carried out: the words and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) exit: Exit,
    pub(crate) words: String,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: words.into() }
    }
}

impl PlaceArgs {
    /// Finds the place.
    pub(crate) fn find(&self, paint: crate::cli::Paint) -> Result<Place, Trouble> {
        if let Some(dir) = &self.state_dir {
            return Ok(Place { store: dir.join("store"), socket: None });
        }
        let config = Config::read(&self.config, &Surroundings::from_env())
            .map_err(|error| Trouble::new(Exit::Usage, error.render(paint)))?;
        Ok(Place { store: config.store_dir(), socket: Some(config.socket) })
    }
}

/// Refuses when the nearest directory that exists belongs to somebody else.
pub(crate) fn check_owner(store: &Path) -> Result<(), Trouble> {
    for dir in store.ancestors() {
        let owner = match fs::metadata(dir) {
            Ok(found) => found.uid(),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let words = format!("failed to look at {}: {error}", dir.display());
                return Err(Trouble::new(Exit::Failed, words));
            }
        };
        // What is above the state directory may well be root's.
        let is_ours = dir == store || Some(dir) == store.parent();
        if owner == Uid::effective().as_raw() || !is_ours {
            return Ok(());
        }
        let name = User::from_uid(Uid::from_raw(owner)).ok().flatten();
        let name = name.map_or_else(|| format!("'#{owner}'"), |user| user.name);
        let words = format!(
            "{} belongs to {name}, and files of somebody else in it would keep the daemon from starting; run it as `sudo -u {name} rolloutd …`",
            dir.display()
        );
        return Err(Trouble::new(Exit::Usage, words));
    }
    Ok(())
}

/// Opens a backup that a person named. What is no plain file is none.
pub(crate) fn open_backup(path: &Path) -> Result<File, Trouble> {
    let refused = |why: String| {
        Trouble::new(Exit::Usage, format!("failed to open {}: {why}", path.display()))
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes into it.
    let found = fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    match found.is_file() {
        true => File::open(path).map_err(|error| refused(error.to_string())),
        false => Err(refused("it is no plain file, so it is no backup".to_owned())),
    }
}

/// How the process ends after an error with this code.
pub(crate) fn exit_of(code: &str) -> Exit {
    match code {
        "RO0201" | "RO0202" | "RO0203" | "RO0209" => Exit::Refused,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_directory_needs_no_configuration() {
        let args = PlaceArgs { config: "/nowhere".into(), state_dir: Some("/s".into()) };
        let place = args.find(crate::cli::Paint::Plain).unwrap();
        assert_eq!(place, Place { store: "/s/store".into(), socket: None });
        let args = PlaceArgs { config: "/nowhere.toml".into(), state_dir: None };
        assert_eq!(args.find(crate::cli::Paint::Plain).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn ones_own_directory_may_be_touched() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_owner(dir.path()), Ok(()));
        assert_eq!(check_owner(&dir.path().join("not/yet")), Ok(()));
    }
}
