//! One HTTP GET of a router's JSON, over a plain socket: HTTP/1.0 with `Connection: close` needs no more than this.
//!
//! Not a general client: no TLS, no redirects, no chunked answers, which a 1.0 request forbids (RFC 9112 §6.1).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::failure;

/// Longest silence, for connecting and for each read.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Largest answer taken. Bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The JSON at `path` of the router at `address`.
pub(crate) fn json(address: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    read(address, path, get(address, path))
}

/// The same without blocking the thread, within [`SILENCE_MAX`] for all of it.
pub(crate) async fn json_soon(address: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(request(address, path).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(SILENCE_MAX, asked)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    read(address, path, answer)
}

fn read(address: &str, path: &str, answer: io::Result<Vec<u8>>) -> anyhow::Result<serde_json::Value> {
    let answer = answer.map_err(|error| {
        failure::unreachable(format!(
            "no router answers HTTP at {address} ({error}): is it running, and is this its `http` address? See --http"
        ))
    })?;
    let (status, body) = parse(&answer).ok_or_else(|| {
        failure::unreachable(format!(
            "what listens at {address} does not speak HTTP: is this the `http` address?"
        ))
    })?;
    if status != 200 {
        return Err(failure::failed(format!("the router at {address} answered {path} with status {status}")));
    }
    serde_json::from_slice(body).map_err(|_| {
        failure::failed(format!(
            "what listens at {address} did not answer {path} with JSON: is it a Highwater router?"
        ))
    })
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n")
}

fn get(address: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, SILENCE_MAX) {
            Ok(stream) => return ask(stream, address, path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream, host: &str, path: &str) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body.
fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let status_line = head.lines().next()?;
    let status = status_line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[head_end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_found() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}";
        assert_eq!(parse(answer), Some((200, &b"{}"[..])));
        assert_eq!(parse(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some((503, &b""[..])));
    }

    #[test]
    fn something_that_is_not_http_is_recognised() {
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
