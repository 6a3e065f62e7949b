//! Owns who is at the other end of the socket, and whether they may give orders.
//!
//! The kernel says who it is; nothing that a client sends is believed. Whoever may open the socket may read, so its mode
//! and group are the first gate; the list of operators is the second, and only orders pass through it.

use std::collections::BTreeSet;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

/// Who may give orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operators {
    /// Whoever may open the socket.
    Anyone,
    /// These: user names, and numbers as `uid:1000`.
    Only(BTreeSet<String>),
}

/// The other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its user; `None` where the kernel does not say.
    pub(crate) uid: Option<u32>,
}

impl Operators {
    /// An empty list means anyone.
    pub(crate) fn of(entries: BTreeSet<String>) -> Self {
        if entries.is_empty() { Self::Anyone } else { Self::Only(entries) }
    }

    /// Whether the user with this number and name may give orders.
    pub(crate) fn includes(&self, uid: Option<u32>, name: &str) -> bool {
        match self {
            Self::Anyone => true,
            Self::Only(entries) => uid.is_some_and(|uid| {
                entries.contains(&numbered(uid)) || (!is_number(name) && entries.contains(name))
            }),
        }
    }
}

impl Peer {
    /// The name that goes into the log: the user's, or `uid:1000` where it has none. May ask a name service, so it blocks.
    pub(crate) fn name(self) -> String {
        let Some(uid) = self.uid else { return "unknown".to_owned() };
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => numbered(uid),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

fn numbered(uid: u32) -> String {
    format!("uid:{uid}")
}

fn is_number(name: &str) -> bool {
    name.starts_with("uid:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(entries: &[&str]) -> Operators {
        Operators::of(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    #[test]
    fn names_and_numbers_open_the_gate_and_nothing_else_does() {
        assert!(only(&[]).includes(None, "unknown"));
        let some = only(&["alice", "uid:1000"]);
        assert!(some.includes(Some(5), "alice"));
        assert!(some.includes(Some(1000), "bob"));
        assert!(!some.includes(Some(5), "bob"));
        assert!(!some.includes(None, "alice"), "the kernel did not say who it is");
        assert!(
            !some.includes(Some(5), "uid:1000"),
            "a name that looks like a number is no number"
        );
    }

    #[test]
    fn a_user_without_a_name_goes_by_its_number() {
        assert_eq!(Peer { uid: Some(3_999_999_999) }.name(), "uid:3999999999");
        assert_eq!(Peer { uid: Some(0) }.name(), "root");
    }
}
