//! Owns the socket's place in the file system: taking it, and giving it back.
//!
//! Refuses a place where somebody listens, or where something lies that is no socket. A socket that a killed daemon left
//! behind is replaced in one step: the new one is made next to it, gets its mode, and is then renamed, so that clients find
//! either the old or the new one, never one that is open to everybody.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A place that this process listens at; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Somebody listens there.
    #[error("another process listens on {}; stop it, or choose another `socket`", path.display())]
    InUse {
        /// The place.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{} exists and is not a socket; move it away, or choose another `socket`", path.display())]
    NotASocket {
        /// The place.
        path: PathBuf,
    },
    /// The system refused.
    #[error("failed to listen on {}", path.display())]
    Listen {
        /// The place.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens at `path` with this mode. Needs a tokio runtime.
///
/// # Errors
///
/// [`SocketError`]; what was there is still there then.
pub(crate) fn listen(path: &Path, mode: u32) -> Result<(UnixListener, Place), SocketError> {
    check_free(path)?;
    let failed = |source| SocketError::Listen { path: path.to_owned(), source };
    let draft = draft(path);
    let listener = bind(&draft, mode).map_err(failed)?;
    let moved = fs::rename(&draft, path);
    if moved.is_err() {
        fs::remove_file(&draft).ok();
    }
    moved.map_err(failed)?;
    Ok((listener, Place { path: path.to_owned(), identity: identity(path) }))
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Looks whether the place can be taken, without taking it.
///
/// # Errors
///
/// [`SocketError`] when it cannot.
pub(crate) fn check_free(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::Listen { path: path.to_owned(), source }),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(dead) if dead.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(SocketError::Listen { path: path.to_owned(), source }),
    }
}

fn bind(draft: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(parent) = draft.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(draft)?;
    fs::set_permissions(draft, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The name next to the socket under which the new one is made. No longer than the socket's own, which may be as long as
/// the system allows.
fn draft(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string().into_encoded_bytes();
    match name.last_mut() {
        Some(last) if *last != b'~' => *last = b'~',
        Some(last) => *last = b'#',
        None => name.push(b'~'),
    }
    path.with_file_name(String::from_utf8_lossy(&name).as_ref())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run").join("d.sock");
        let (listener, place) = listen(&path, 0o660).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert!(matches!(listen(&path, 0o660), Err(SocketError::InUse { .. })));
        // Like a killed daemon: the listener is gone, its name is still there.
        std::mem::forget(place);
        drop(listener);
        let (_listener, place) = listen(&path, 0o600).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        UnixStream::connect(&path).unwrap();
        drop(place);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_and_a_successor_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path, 0o660), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let (listener, place) = listen(&path, 0o660).unwrap();
        drop(listener);
        let (_successor, _its_place) = listen(&path, 0o660).unwrap();
        drop(place);
        assert!(path.exists(), "only one's own socket is taken away");
    }
}
