//! A client that speaks the protocol byte by byte, so that a test can say exactly what is sent and see exactly what
//! comes back.
//!
//! Knows nothing of the project's own codec on purpose. Format: PostgreSQL's "Message Formats"
//! (doc/src/sgml/protocol.sgml).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// The longest wait for bytes before a test is called stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message from the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse, for example `b'C'` for the SQLSTATE.
    pub(crate) fn field(&self, code: u8) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&code))?;
        Some(String::from_utf8_lossy(&found[1..]).into_owned())
    }

    /// The columns of a DataRow, as text.
    pub(crate) fn columns(&self) -> Vec<Option<String>> {
        assert_eq!(self.tag, b'D', "{self:?} is not a DataRow");
        let mut rest = &self.body[2..];
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        let mut columns = Vec::new();
        for _ in 0..count {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            columns.push(usize::try_from(length).ok().map(|length| {
                let value = String::from_utf8_lossy(&rest[..length]).into_owned();
                rest = &rest[length..];
                value
            }));
        }
        columns
    }

    /// The text up to the first zero byte: a CommandComplete's tag.
    pub(crate) fn text(&self) -> String {
        let end = self.body.iter().position(|byte| *byte == 0).unwrap_or(self.body.len());
        String::from_utf8_lossy(&self.body[..end]).into_owned()
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        write!(f, "{}({body:?})", char::from(self.tag))
    }
}

/// The tags of messages in order, which is all that many tests compare. ParameterStatus is left out, since a router
/// may send it at other moments than a server does; ReadyForQuery is written with its status: `ZI`.
pub(crate) fn tags(messages: &[Message]) -> String {
    let words = messages.iter().filter(|message| message.tag != b'S').map(|message| match message.tag {
        b'Z' => format!("Z{}", char::from(message.body[0])),
        tag => char::from(tag).to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The SQLSTATEs of the errors among these messages.
pub(crate) fn sqlstates(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.tag == b'E').filter_map(|message| message.field(b'C')).collect()
}

/// The first column of every row.
pub(crate) fn values(messages: &[Message]) -> Vec<String> {
    let rows = messages.iter().filter(|message| message.tag == b'D');
    rows.map(|row| row.columns().remove(0).unwrap_or_else(|| "null".to_owned())).collect()
}

/// A column of the only row, by its name in the RowDescription.
pub(crate) fn column(messages: &[Message], name: &str) -> String {
    let description =
        messages.iter().find(|message| message.tag == b'T').unwrap_or_else(|| panic!("{messages:?}"));
    let mut names = Vec::new();
    let mut rest = &description.body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        // Six numbers follow each name: 18 bytes.
        rest = &rest[end + 1 + 18..];
    }
    let place = names.iter().position(|known| known == name);
    let place = place.unwrap_or_else(|| panic!("there is no column {name} in {names:?}"));
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    row.columns().swap_remove(place).unwrap_or_default()
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    /// Read; what stands before `taken` was taken.
    pending: Vec<u8>,
    taken: usize,
    /// BackendKeyData, body as received: process id, then secret.
    pub(crate) key: Vec<u8>,
    /// ParameterStatus at login.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Raw {
    /// A connection on which nothing was sent.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        Raw { stream, pending: Vec::new(), taken: 0, key: Vec::new(), parameters: Vec::new() }
    }

    /// A connection that is logged in and idle.
    pub(crate) fn login(port: u16, user: &str, password: &str, database: &str) -> Self {
        Raw::login_with(port, password, &[("user", user), ("database", database)])
    }

    /// A connection that is logged in with these start-up parameters.
    pub(crate) fn login_with(port: u16, password: &str, parameters: &[(&str, &str)]) -> Self {
        let mut raw = Raw::connect(port);
        raw.send(&startup(0x0003_0000, parameters));
        raw.authenticate(password).unwrap_or_else(|error| panic!("login failed: {error:?}"));
        raw
    }

    /// Answers the server's questions until it is ready; the error is its ErrorResponse.
    pub(crate) fn authenticate(&mut self, password: &str) -> Result<(), Message> {
        let mut scram = None;
        loop {
            let message = self.receive();
            match message.tag {
                b'R' => self.answer_authentication(&message, password, &mut scram),
                b'E' => return Err(message),
                b'K' => self.key = message.body,
                b'S' => {
                    let text = String::from_utf8_lossy(&message.body).into_owned();
                    let mut parts = text.split('\0').map(str::to_owned);
                    self.parameters.push((parts.next().unwrap(), parts.next().unwrap()));
                }
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    fn answer_authentication(&mut self, message: &Message, password: &str, scram: &mut Option<ScramSha256>) {
        let rest = &message.body[4..];
        match message.body[3] {
            0 => {}
            3 => self.send(&frame(b'p', &cstring(password))),
            10 => {
                let exchange = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                let mut body = cstring(SCRAM_SHA_256);
                body.extend(u32::try_from(exchange.message().len()).unwrap().to_be_bytes());
                body.extend(exchange.message());
                *scram = Some(exchange);
                self.send(&frame(b'p', &body));
            }
            11 => {
                let exchange = scram.as_mut().expect("SASL began");
                exchange.update(rest).expect("the server's first message is right");
                let answer = exchange.message().to_vec();
                self.send(&frame(b'p', &answer));
            }
            12 => scram.as_mut().expect("SASL began").finish(rest).expect("the server knows the password"),
            other => panic!("authentication method {other} is not asked for in these tests"),
        }
    }

    /// From now on a read that takes longer than this fails.
    pub(crate) fn patience(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a socket takes a timeout");
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes as they are; the error is the socket's.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a simple query.
    pub(crate) fn send_query(&mut self, sql: &str) {
        self.send(&query(sql));
    }

    /// Role and reason of the previous statement, as `SHOW highwater.last_route` tells.
    pub(crate) fn route(&mut self) -> (String, String) {
        let answer = self.query("SHOW highwater.last_route");
        (column(&answer, "role"), column(&answer, "reason"))
    }

    /// Sends a simple query and gives everything up to ReadyForQuery.
    pub(crate) fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send_query(sql);
        self.until_ready()
    }

    /// The first column of the only row of a simple query.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        let messages = self.query(sql);
        let values = values(&messages);
        assert_eq!(values.len(), 1, "{sql}: {messages:?}");
        values.into_iter().next().unwrap()
    }

    /// Every message up to ReadyForQuery.
    pub(crate) fn until_ready(&mut self) -> Vec<Message> {
        self.until(b'Z')
    }

    /// Every message up to one with this tag.
    pub(crate) fn until(&mut self, tag: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive();
            messages.push(message);
            if messages.last().is_some_and(|message| message.tag == tag) {
                return messages;
            }
        }
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> Message {
        self.try_receive()
            .expect("the server sends a message")
            .expect("the server does not close the connection")
    }

    /// The next message; `None` when the server has closed the connection.
    pub(crate) fn try_receive(&mut self) -> std::io::Result<Option<Message>> {
        while self.whole().is_none() {
            self.pending.drain(..std::mem::take(&mut self.taken));
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let end = self.whole().expect("the loop saw to it");
        let bytes = &self.pending[self.taken..self.taken + end];
        let message = Message { tag: bytes[0], body: bytes[5..].to_vec() };
        self.taken += end;
        Ok(Some(message))
    }

    /// Length of the next message, once all of it is there.
    fn whole(&self) -> Option<usize> {
        let rest = &self.pending[self.taken..];
        let end = 1 + usize::try_from(u32::from_be_bytes(rest.get(1..5)?.try_into().unwrap())).unwrap();
        (rest.len() >= end).then_some(end)
    }

    /// One byte outside any message: the answer to SSLRequest and GSSENCRequest.
    pub(crate) fn receive_byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("the server answers with a byte");
        byte[0]
    }

    /// True when nothing arrives within this time. For showing that something is *not* sent.
    pub(crate) fn silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a socket takes a timeout");
        let answer = self.try_receive();
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        matches!(answer, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Everything until the server closes the connection.
    pub(crate) fn until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.try_receive().expect("the server closes the connection") {
            messages.push(message);
        }
        messages
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).ok();
    }

    /// All bytes until the server closes the connection, as they are.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = self.pending.split_off(self.taken);
        if let Err(error) = self.stream.read_to_end(&mut bytes) {
            let timed_out = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!timed_out, "the server does not close the connection after {bytes:?}");
        }
        bytes
    }

    /// Closes without a word, as a killed client does.
    pub(crate) fn vanish(self) {
        drop(self.stream);
    }
}

/// A message with a tag.
pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A StartupMessage.
pub(crate) fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(cstring(name));
        body.extend(cstring(value));
    }
    body.push(0);
    untagged(&body)
}

/// SSLRequest (80877103), GSSENCRequest (80877104).
pub(crate) fn request(code: u32) -> Vec<u8> {
    untagged(&code.to_be_bytes())
}

/// CancelRequest with a key as BackendKeyData gave it.
pub(crate) fn cancel(key: &[u8]) -> Vec<u8> {
    untagged(&[&80_877_102_u32.to_be_bytes(), key].concat())
}

fn untagged(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// Query.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &cstring(sql))
}

/// Parse, without parameter types.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', &[cstring(name), cstring(sql), vec![0, 0]].concat())
}

/// Bind with parameters in text; results in text.
pub(crate) fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    let mut body = [cstring(portal), cstring(statement), vec![0, 0]].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(value.as_bytes());
            }
        }
    }
    body.extend([0, 0]);
    frame(b'B', &body)
}

/// Describe: `kind` is `b'S'` for a statement, `b'P'` for a portal.
pub(crate) fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[vec![kind], cstring(name)].concat())
}

/// Execute; 0 is all rows.
pub(crate) fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    frame(b'E', &[cstring(portal), rows_max.to_be_bytes().to_vec()].concat())
}

/// Close: `kind` as for [`describe`].
pub(crate) fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[vec![kind], cstring(name)].concat())
}

/// Sync.
pub(crate) fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

/// Flush.
pub(crate) fn flush() -> Vec<u8> {
    frame(b'H', &[])
}

/// Parse, Bind, Describe and Execute of an unnamed statement, without Sync.
pub(crate) fn run(sql: &str, values: &[Option<&str>]) -> Vec<u8> {
    [parse("", sql), bind("", "", values), describe(b'P', ""), execute("", 0)].concat()
}

/// Text with its closing zero byte.
pub(crate) fn cstring(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
