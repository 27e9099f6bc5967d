//! An HTTP server that says what it is told to say, whatever it is asked.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it says of each path: all bytes of the answer. Nothing, for ever, of a path that is not there.
type Script = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// The server; it serves until the process ends.
pub(crate) struct Stub {
    pub(crate) port: u16,
    script: Script,
}

impl Stub {
    pub(crate) fn start() -> Stub {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let script = Script::default();
        let answers = Arc::clone(&script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                thread::spawn(move || serve(stream, &answers));
            }
        });
        Stub { port, script }
    }

    /// From here on it answers this path like this.
    pub(crate) fn says(&self, path: &str, status: u16, body: &str) {
        self.sends(
            path,
            format!("HTTP/1.0 {status} x\r\nContent-Type: application/json\r\n\r\n{body}").as_bytes(),
        );
    }

    /// From here on it sends these bytes for this path, and ends the connection.
    pub(crate) fn sends(&self, path: &str, bytes: &[u8]) {
        self.script.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    /// From here on it says nothing when asked for this path.
    pub(crate) fn hangs(&self, path: &str) {
        self.script.lock().unwrap().remove(path);
    }
}

fn serve(mut stream: TcpStream, script: &Script) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok();
    let mut asked = Vec::new();
    let mut more = [0; 4096];
    while !asked.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut more) {
            Ok(0) | Err(_) => return,
            Ok(read) => asked.extend_from_slice(&more[..read]),
        }
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let answer = script.lock().unwrap().get(path).cloned();
    match answer {
        Some(answer) => drop(stream.write_all(&answer)),
        // Until the other side has had enough.
        None => drop(stream.read(&mut more)),
    }
}
