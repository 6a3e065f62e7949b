//! The websocket shell: frames between a socket and a [`Session`].
//!
//! Decides nothing. It pings as a real server does, and wakes the session when the deployment has
//! changed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};

use crate::http::Shell;
use crate::sync::{Frame, Session};

/// Serves one websocket until either side closes it.
pub(crate) async fn serve(shell: Arc<Shell>, mut socket: WebSocket) {
    let mut session = Session::default();
    let mut changes = shell.changes();
    let mut pings = 0_u32;
    while !session.is_closed() {
        let frames = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    shell.with(|deployment, now| session.receive(deployment, now, text.as_str()))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                shell.with(|deployment, now| session.refresh(deployment, now))
            }
            () = crate::http::hold(PING_INTERVAL) => {
                pings += 1;
                if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
                // Clients cannot see pings of the protocol below, so idle ones get this as well.
                let is_due = pings.is_multiple_of(PINGS_PER_MESSAGE);
                if is_due { vec![Frame::Text(r#"{"type":"Ping"}"#.to_owned())] } else { continue }
            }
        };
        for frame in frames {
            if socket.send(to_message(frame)).await.is_err() {
                return;
            }
        }
    }
    // The client answers the close frame, or its connection ends.
    while let Ok(Some(Ok(_))) = tokio::time::timeout(CLOSE_WAIT_MAX, socket.recv()).await {}
}

fn to_message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Close { code: None, .. } => Message::Close(None),
        Frame::Close { code: Some(code), reason } => {
            Message::Close(Some(CloseFrame { code, reason: reason.into() }))
        }
    }
}

/// How often a server pings.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Every third ping comes with one that the client can see.
const PINGS_PER_MESSAGE: u32 = 3;
/// How long a closing handshake may take.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);
