//! Owns a server that answers with any bytes, or with none, and keeps what it was sent.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What to do once a request was read.
pub(crate) enum Reply {
    /// Sends bytes as they are, then closes.
    Bytes(Vec<u8>),
    /// Sends a body without length until the other side has had enough.
    Endless,
    /// Closes without a byte.
    Close,
    /// Resets without a byte.
    Reset,
    /// Says nothing while the connection lasts.
    Hang,
}

/// A raw server, answering each connection once.
pub(crate) struct RawServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// Bytes that an endless answer got rid of, once it ended.
    sent: watch::Receiver<Option<usize>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl RawServer {
    /// Answers the n-th request (from 0 on) with `reply(n, request)`.
    pub(crate) async fn start(
        reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (report, sent) = watch::channel(None);
        let (seen, reply) = (requests.clone(), Arc::new(reply));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, reply.clone(), seen.clone(), report.clone()));
            }
        });
        Self { url, requests, sent, accepting }
    }

    /// The requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for the end of an endless answer.
    pub(crate) async fn sent(&self) -> usize {
        self.sent.clone().wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// Closes the port, so that new connections are refused.
    pub(crate) async fn close(&mut self) {
        self.accepting.abort();
        (&mut self.accepting).await.unwrap_err();
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: Arc<impl Fn(usize, &str) -> Reply>,
    seen: Arc<Mutex<Vec<String>>>,
    report: watch::Sender<Option<usize>>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    match reply(index, &request) {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
            let (chunk, mut sent) = (vec![b'x'; 1 << 16], 0);
            while sent < 100_000_000 && stream.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
            report.send(Some(sent)).ok();
        }
        Reply::Close => {}
        Reply::Reset => stream.set_zero_linger().unwrap(),
        Reply::Hang => {
            stream.read_exact(&mut [0]).await.ok();
        }
    }
}

/// Reads one request with its body; `None` when the other side left, or speaks something else.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(part.get(..count)?),
        }
        if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            return None;
        }
    }
}

/// A whole HTTP response.
pub(crate) fn http(status: u16, body: &str) -> Reply {
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close", body.len());
    Reply::Bytes(format!("{head}\r\n\r\n{body}").into_bytes())
}

/// A list of variables.
pub(crate) fn variables(pairs: &[(&str, &str)]) -> Reply {
    let pairs: std::collections::BTreeMap<_, _> = pairs.iter().copied().collect();
    http(200, &serde_json::json!({ "environmentVariables": pairs }).to_string())
}
