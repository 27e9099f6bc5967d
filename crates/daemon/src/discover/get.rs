//! One HTTP GET over a plain socket: HTTP/1.0 with the connection ended by the server needs no more than this.
//!
//! Not a general client: no TLS, no redirects, and no chunked answers, which a 1.0 request forbids (RFC 9112 §6.1).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for one request, from connecting to the last byte.
const GET_MAX: Duration = Duration::from_secs(1);
/// Largest answer taken, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// An HTTP server: `host:port` as it is written in a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", crate::config::address(&self.host, self.port))
    }
}

/// Status and body of what stands at `path`.
pub(super) async fn get(origin: &Origin, path: &str) -> Result<(u16, Vec<u8>), String> {
    let work = async {
        let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        exchange(stream, &crate::config::address(&origin.host, origin.port), path).await
    };
    let late = || Err(format!("no answer within {} s", GET_MAX.as_secs()));
    timeout(GET_MAX, work).await.unwrap_or_else(|_| late())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> Result<(u16, Vec<u8>), String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await;
    let read = read.map_err(|error| error.to_string())?;
    if read as u64 > ANSWER_BYTES_MAX {
        return Err(format!("answered with more than {ANSWER_BYTES_MAX} bytes"));
    }
    parse(&answer).ok_or_else(|| "does not speak HTTP".to_owned())
}

/// Status and body.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..head_end)?).ok()?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.get(head_end + 4..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &[u8]) -> (Result<(u16, Vec<u8>), String>, String) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 22);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let outcome = exchange(ours, "db:8008", "/cluster").await;
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        (outcome, asked)
    }

    #[tokio::test]
    async fn status_and_body_are_taken_as_they_come() {
        let (outcome, asked) = answered(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{\"a\": 1}").await;
        assert_eq!(outcome, Ok((200, b"{\"a\": 1}".to_vec())));
        assert!(
            asked.starts_with("GET /cluster HTTP/1.0\r\nHost: db:8008\r\n") && asked.ends_with("\r\n\r\n")
        );
        assert_eq!(answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.0, Ok((503, Vec::new())));
    }

    #[tokio::test]
    async fn what_does_not_speak_http_or_does_not_stop_is_no_answer() {
        for nonsense in [&b""[..], b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.0 200", b"HTTP/1.0 \xff OK\r\n\r\n"] {
            assert_eq!(answered(nonsense).await.0, Err("does not speak HTTP".to_owned()));
        }
        let endless = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &vec![b' '; 1 << 20]].concat();
        assert!(answered(&endless).await.0.unwrap_err().contains("more than 1048576 bytes"));
    }
}
