//! As much of HTTP/1.1 as a reader of four pages needs. Every connection asks once, in few bytes and soon, or is
//! told what is wrong with it; there are never more than a few at once, and the oldest makes way for one more.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::timeout;
use tracing::{debug, info};

use super::Monitor;

/// Longest head of a request, bytes.
const LONGEST: usize = 4096;
/// Connections at once.
const AT_ONCE: usize = 32;
/// From the first byte that is waited for to the last that is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// That nobody can be listened for.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {error}; {}", cure(.error))]
pub struct Closed {
    /// Where.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there (`ss -ltnp` names it), or set another [monitor] port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "set [monitor] address to one of this machine's (`ip address` lists them), or to 127.0.0.1"
        }
        io::ErrorKind::PermissionDenied => "set a [monitor] port from 1024 on",
        _ => "set another [monitor] address or port",
    }
}

/// Where readers come in, and who is inside.
#[derive(Debug)]
pub struct Door {
    monitor: Arc<Monitor>,
    listener: TcpListener,
    talks: VecDeque<AbortHandle>,
}

impl Door {
    /// Opens the door to `monitor` at `address`.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub async fn open(monitor: Arc<Monitor>, address: SocketAddr) -> Result<Self, Closed> {
        let listener = TcpListener::bind(address).await.map_err(|error| Closed { address, error })?;
        info!("http://{address}/metrics, /status, /health and /ready can be read");
        Ok(Self { monitor, listener, talks: VecDeque::new() })
    }

    /// Lets the next reader in, and answers beside.
    ///
    /// # Errors
    /// The system has no room for a connection, or it was gone at once.
    pub async fn admit(&mut self) -> io::Result<()> {
        let (stream, _) = self.listener.accept().await?;
        self.talks.retain(|talk| !talk.is_finished());
        if self.talks.len() == AT_ONCE
            && let Some(oldest) = self.talks.pop_front()
        {
            oldest.abort();
        }
        self.talks.push_back(tokio::spawn(attend(stream, Arc::clone(&self.monitor))).abort_handle());
        yield_now().await; // who has asked already is answered before the next is let in
        Ok(())
    }
}

/// A connection, for as long as it may last.
async fn attend(stream: TcpStream, monitor: Arc<Monitor>) {
    if !matches!(timeout(PATIENCE, converse(stream, &monitor)).await, Ok(Ok(()))) {
        debug!("a reader of the monitor went away or took too long");
    }
}

/// One question and its answer.
async fn converse(mut stream: TcpStream, monitor: &Monitor) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    let mut bytes = [0; 512];
    while !ended(&head) && head.len() < LONGEST {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            count => head.extend_from_slice(&bytes[..count]),
        }
    }
    stream.write_all(&monitor.reply(&head)).await?;
    stream.shutdown().await?;
    // What is still on its way is read, or the system would take the answer back.
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

impl Monitor {
    /// The whole answer to a request with this head.
    pub fn reply(&self, head: &[u8]) -> Vec<u8> {
        match asked(head) {
            Ok((path, body)) => self.answer(path).bytes(body),
            Err(refusal) => refusal.bytes(true),
        }
    }
}

fn ended(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n")
}

/// The path that a request asks for, and whether its body is wanted.
fn asked(head: &[u8]) -> Result<(&str, bool), Answer> {
    if !ended(head) {
        return Err(Answer::text(431, "the head of the request is too long"));
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Answer::text(400, "the request is no text"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(Answer::text(400, "expected a line such as GET /metrics HTTP/1.1"));
    };
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(Answer::text(505, "expected HTTP/1.0 or HTTP/1.1"));
    }
    let path = target.split('?').next().filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| Answer::text(400, "expected a path such as /metrics"))?;
    match method {
        "GET" => Ok((path, true)),
        "HEAD" => Ok((path, false)),
        _ => Err(Answer::text(405, "there is nothing to change here: GET or HEAD")),
    }
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Answer {
    pub fn metrics(body: String) -> Self {
        Self { status: 200, kind: "text/plain; version=0.0.4; charset=utf-8", body }
    }

    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(value) {
            Ok(text) => Self { status, kind: "application/json", body: text + "\n" },
            Err(error) => Self::text(500, &error.to_string()),
        }
    }

    /// 200 if nothing is wrong, otherwise 503 with what is.
    pub fn verdict(wrong: Vec<String>) -> Self {
        let status = if wrong.is_empty() { 200 } else { 503 };
        Self::json(status, &serde_json::json!({ "ok": wrong.is_empty(), "missing": wrong }))
    }

    pub fn not_found() -> Self {
        Self::text(404, "there are /metrics, /status, /health and /ready")
    }

    fn text(status: u16, words: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{words}\n") }
    }

    fn bytes(&self, body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        };
        let Self { status, kind, body: text } = self;
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        let text = if body { text.as_str() } else { "" };
        (head + text).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(head: &str) -> u16 {
        asked(head.as_bytes()).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn a_request_is_understood_or_refused() {
        assert_eq!(asked(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(("/metrics", true)));
        assert_eq!(asked(b"HEAD / HTTP/1.0\r\n\r\n"), Ok(("/", false)));
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status("GET /metrics HTTP/2\r\n\r\n"), 505);
        assert_eq!(status("GET metrics HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET  / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("\r\n\r\n"), 400);
        assert_eq!(status(&"a".repeat(LONGEST)), 431);
    }

    proptest! {
        #[test]
        fn no_request_is_too_strange(head in proptest::collection::vec(any::<u8>(), 0..200), end in any::<bool>()) {
            let head = if end { [head, b"\r\n\r\n".to_vec()].concat() } else { head };
            if let Ok((path, _)) = asked(&head) {
                prop_assert!(path.starts_with('/'));
            }
        }
    }
}
