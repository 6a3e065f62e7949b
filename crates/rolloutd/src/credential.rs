//! Owns credential files: reading a key, and saying what is wrong with its file without ever quoting it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// Longest credential file; a key has a few hundred bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// A key as read from its file.
#[derive(Debug)]
pub(crate) struct Credential {
    /// The key.
    pub(crate) key: SecretString,
    /// What is allowed but should be known.
    pub(crate) warning: Option<String>,
}

/// Tells one state of a file from another, so that a key that was replaced is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    bytes: u64,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// There is no such file.
    #[error("there is no credential {}; put it there", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is there but cannot be read.
    #[error("rolloutd's user cannot read the credential {}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("the credential {} is no key: {what}", path.display())]
    NoKey {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Credential {
    /// Reads a credential file. A line feed at its end does not belong to the key.
    ///
    /// # Errors
    ///
    /// [`CredentialError`]; never quotes the file.
    pub(crate) fn read(path: &Path) -> Result<Self, CredentialError> {
        let failed = |source: io::Error| sorted(path, source);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let no_key = |what| CredentialError::NoKey { path: path.to_owned(), what };
        if !metadata.is_file() {
            return Err(no_key("it is not a file"));
        }
        if metadata.len() > CREDENTIAL_BYTES_MAX {
            return Err(no_key("it is too large"));
        }
        let mut text = String::new();
        let read = file.take(CREDENTIAL_BYTES_MAX).read_to_string(&mut text);
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            return Err(no_key("it is not text"));
        }
        read.map_err(failed)?;
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            return Err(no_key("it is empty"));
        }
        Ok(Self { key: SecretString::from(text), warning: warning(path, &metadata) })
    }
}

impl Stamp {
    /// The file's state now; `None` when there is none to be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.len(),
        })
    }
}

fn sorted(path: &Path, source: io::Error) -> CredentialError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        return CredentialError::Missing { path };
    }
    CredentialError::Unreadable { path, source }
}

/// systemd shows its credentials as readable for the group (that is the mask of an access list), so only what everybody
/// may read is worth a word.
fn warning(path: &Path, metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode();
    (mode & 0o004 != 0).then(|| {
        format!(
            "the credential {path} can be read by every user of this machine (mode {mode:04o}); \
             `chmod 0400 {path}`",
            path = path.display(),
            mode = mode & 0o7777,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_key_is_read_without_its_line_feed_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.key");
        fs::write(&path, "prod:otter|topsecret\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let read = Credential::read(&path).unwrap();
        assert_eq!(read.key.expose_secret(), "prod:otter|topsecret");
        assert_eq!(read.warning, None);
        assert!(!format!("{read:?}").contains("topsecret"));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let warning = Credential::read(&path).unwrap().warning.unwrap();
        assert!(warning.contains("mode 0644") && !warning.contains("topsecret"), "{warning}");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.key");
        let said = || Credential::read(&path).unwrap_err().to_string();
        assert!(said().starts_with("there is no credential /"), "{}", said());
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, " \n").unwrap();
        assert!(said().ends_with("is no key: it is empty"), "{}", said());
        let before = Stamp::of(&path);
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(said().ends_with("it is not text"), "{}", said());
        assert_ne!(Stamp::of(&path), before);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(said().ends_with("it is not a file"), "{}", said());
    }
}
