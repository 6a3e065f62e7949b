//! Owns a small web server whose next answers a test chooses, and which counts what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a request is answered.
pub(crate) enum Reply {
    /// Status, further header lines, body.
    Whole(u16, String, String),
    /// A body without end.
    Endless,
    /// Nothing, while the connection lasts.
    Silence,
}

/// Answers a request, its head in lower case but for the first line.
type Answering = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A web server on loopback.
pub(crate) struct Server {
    pub(crate) url: String,
    answering: Arc<Mutex<Answering>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Starts one that answers everything with 500.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let unset: Answering = Arc::new(|_| reply(500, "no answer was chosen"));
        let (answering, requests) = (Arc::new(Mutex::new(unset)), Arc::new(AtomicUsize::new(0)));
        let (chosen, count) = (answering.clone(), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, chosen.clone(), count.clone()));
            }
        });
        Self { url, answering, requests }
    }

    /// Chooses how all further requests are answered, and counts from zero.
    pub(crate) fn answer(&self, how: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.answering.lock().unwrap() = Arc::new(how);
        self.requests.store(0, Ordering::SeqCst);
    }

    /// Requests since the last choice.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// An answer with a body.
pub(crate) fn reply(status: u16, body: &str) -> Reply {
    Reply::Whole(status, String::new(), body.to_owned())
}

/// A URL where nobody listens.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn serve(mut stream: TcpStream, chosen: Arc<Mutex<Answering>>, count: Arc<AtomicUsize>) {
    let Some(request) = read_head(&mut stream).await else { return };
    count.fetch_add(1, Ordering::SeqCst);
    let answering = chosen.lock().unwrap().clone();
    match answering(&request) {
        Reply::Whole(status, headers, body) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}");
            stream.write_all(format!("{head}\r\n{headers}\r\n{body}").as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n[").await.ok();
            let chunk = b"0,".repeat(1 << 15);
            // Ends when the other side has had enough; 64 MiB are more than anybody should take.
            for _ in 0..1024 {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
        Reply::Silence => {
            stream.read_exact(&mut [0]).await.ok();
        }
    }
}

/// The first line as it is, the headers in lower case up to their colons.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
