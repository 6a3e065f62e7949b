//! Owns the event stream: server-sent events in, journal entries out.
//!
//! The parser takes bytes in any pieces. It refuses a message that is no journal entry, and one that never ends.

use std::collections::VecDeque;
use std::path::PathBuf;

use reqwest::Response;

use crate::journal::JournalEntry;

use super::ClientError;

/// Longest message, in bytes. The largest entry carries a whole plan.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What happens to a rollout, as it happens.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    socket: PathBuf,
    parser: Parser,
}

impl EventStream {
    pub(super) fn new(response: Response, socket: PathBuf) -> Self {
        Self { response, socket, parser: Parser::default() }
    }

    /// The next entry; `None` when the daemon ended the stream. Cancel safe: an entry that was not returned comes with the
    /// next call.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] when the connection broke or went silent, [`ClientError::Protocol`] when a message is
    /// no entry.
    pub async fn next(&mut self) -> Result<Option<JournalEntry>, ClientError> {
        loop {
            if let Some(message) = self.parser.ready.pop_front() {
                let entry = serde_json::from_str(&message)
                    .map_err(|error| self.protocol(error.to_string()))?;
                return Ok(Some(entry));
            }
            let unreachable =
                |source| ClientError::Unreachable { socket: self.socket.clone(), source };
            let Some(piece) = self.response.chunk().await.map_err(unreachable)? else {
                return Ok(None);
            };
            self.parser.feed(&piece);
            if self.parser.waiting_bytes() > MESSAGE_BYTES_MAX {
                return Err(self.protocol("a message that does not end".to_string()));
            }
        }
    }

    fn protocol(&self, what: String) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), what }
    }
}

/// Cuts a stream of bytes into the `data` of its messages. Ids are not kept: the entry says its own `seq`.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: String,
    ready: VecDeque<String>,
}

impl Parser {
    fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'\n' => self.end_line(),
                byte => self.line.push(*byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            if !self.data.is_empty() {
                self.ready.push_back(std::mem::take(&mut self.data));
            }
        } else if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.line.len() + self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\ndata: {\"a\":\ndata: 1}\n\n: still here\n\nevent: x\r\ndata:two\r\n\r\ndata: unfinished";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            text.as_bytes().chunks(size).for_each(|piece| parser.feed(piece));
            assert_eq!(parser.ready, ["{\"a\":\n1}", "two"], "in pieces of {size}");
            assert!(parser.waiting_bytes() > 0);
        }
    }
}
