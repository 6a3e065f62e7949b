//! Owns a download in pieces: a backup as the daemon makes it.
//!
//! Knows nothing of what it carries: whether a backup is whole is found out by reading it.

use std::path::PathBuf;

use reqwest::Response;

use super::ClientError;

/// An answer that is taken piece by piece.
#[derive(Debug)]
pub struct Download {
    response: Response,
    socket: PathBuf,
}

impl Download {
    pub(super) fn new(response: Response, socket: PathBuf) -> Self {
        Self { response, socket }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] when the connection broke or went silent.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let piece = self.response.chunk().await.map_err(unreachable)?;
        Ok(piece.map(|piece| piece.to_vec()))
    }
}
