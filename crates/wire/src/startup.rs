//! What does a connection want, before it has a state? The first packet has no tag: a request for encryption, a CancelRequest or
//! a StartupMessage.
//!
//! All of this is read from strangers, so every field has a limit, and the limits are PostgreSQL's own
//! (`ProcessStartupPacket`, `src/backend/tcop/backend_startup.c`). Which user may enter, how encryption is answered and how
//! often it may be asked for is the daemon's business. Names and values must be UTF-8: Highwater puts them into
//! logs, labels and other messages.

mod options;
mod write;

pub use options::parse_options;
pub use write::{
    EncodeStartupError, encode_cancel_request, encode_negotiate_protocol_version, encode_ssl_request,
    encode_startup,
};

use crate::cursor::Cursor;
use crate::malformed::Malformed;
use crate::sqlstate::SqlState;

/// The largest first packet, in bytes (`MAX_STARTUP_PACKET_LENGTH`, `src/include/libpq/pqcomm.h`).
pub const PACKET_LEN_MAX: usize = 10_000;
/// The smallest first packet: a length and a code, in bytes.
pub const PACKET_LEN_MIN: usize = 8;
/// The most name–value pairs in a StartupMessage. Ours: PostgreSQL bounds only the bytes.
pub const PAIRS_MAX: usize = 64;
/// The most settings in the `options` parameter. Ours.
pub const OPTIONS_MAX: usize = 64;
/// How long a cancel key may be, in bytes. Exactly 4 under protocol 3.0; 3.2 allows up to 256.
pub const CANCEL_KEY_LEN: std::ops::RangeInclusive<usize> = 4..=256;

const CANCEL_REQUEST_CODE: u32 = 1234 << 16 | 5678;
const SSL_REQUEST_CODE: u32 = 1234 << 16 | 5679;
const GSSENC_REQUEST_CODE: u32 = 1234 << 16 | 5680;
/// The first byte of a TLS ClientHello record: what PostgreSQL 17 clients with `sslnegotiation=direct` open with.
const TLS_HANDSHAKE: u8 = 0x16;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// 3 since PostgreSQL 7.4.
    pub major: u16,
    /// 0, or 2 since PostgreSQL 18; anything above is an offer to be answered with NegotiateProtocolVersion.
    pub minor: u16,
}

impl ProtocolVersion {
    /// Version 3.0, spoken by every server and client in use.
    pub const V3_0: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };
    /// Version 3.2 of PostgreSQL 18: longer cancel keys.
    pub const V3_2: ProtocolVersion = ProtocolVersion { major: 3, minor: 2 };

    const fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        ProtocolVersion { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    /// As it stands in packets: major in the upper, minor in the lower half.
    pub const fn to_code(self) -> u32 {
        let [a, b] = self.major.to_be_bytes();
        let [c, d] = self.minor.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The first packet of a connection.
#[derive(Clone, Copy)]
pub enum Initial<'a> {
    /// SSLRequest: answer `S` or `N`, one byte; nothing may have been received behind it.
    Ssl,
    /// GSSENCRequest: answer `N`.
    GssEnc,
    /// CancelRequest: no answer; close.
    Cancel {
        /// The pid of the BackendKeyData it quotes. Under Highwater a random number, not a process.
        pid: i32,
        /// The key it quotes, 4 to 256 bytes; to be compared in constant time.
        key: &'a [u8],
    },
    /// StartupMessage: a session is to begin.
    Startup(StartupParameters<'a>),
}

/// Shows no cancel key: whoever has one can cancel.
impl std::fmt::Debug for Initial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Initial::Ssl => f.write_str("Ssl"),
            Initial::GssEnc => f.write_str("GssEnc"),
            Initial::Cancel { pid, key: _ } => write!(f, "Cancel {{ pid: {pid}, key: [redacted] }}"),
            Initial::Startup(parameters) => write!(f, "Startup({parameters:?})"),
        }
    }
}

/// Reads the first packet at the start of `buf`: what it is, and how many bytes it has. `None`: more bytes are needed.
///
/// # Errors
/// [`StartupError`], as soon as the bytes that are there cannot become a valid packet.
pub fn initial(buf: &[u8]) -> Result<Option<(Initial<'_>, usize)>, StartupError> {
    let Some(&declared) = buf.first_chunk::<4>() else { return Ok(None) };
    let [first, second, ..] = declared;
    if first == TLS_HANDSHAKE && second == 3 {
        return Err(StartupError::DirectTls);
    }
    let len = usize::try_from(u32::from_be_bytes(declared)).unwrap_or(usize::MAX);
    if !(PACKET_LEN_MIN..=PACKET_LEN_MAX).contains(&len) {
        return Err(StartupError::Length { declared: u32::from_be_bytes(declared) });
    }
    let Some(packet) = buf.get(..len) else { return Ok(None) };
    let mut body = Cursor::new(packet.get(4..).unwrap_or_default(), "StartupMessage");
    let code = body.u32()?;
    let initial = match code {
        SSL_REQUEST_CODE => empty(body, Initial::Ssl)?,
        GSSENC_REQUEST_CODE => empty(body, Initial::GssEnc)?,
        CANCEL_REQUEST_CODE => cancel(body)?,
        code => Initial::Startup(StartupParameters::parse(ProtocolVersion::from_code(code), body)?),
    };
    Ok(Some((initial, len)))
}

fn empty<'a>(body: Cursor<'a>, initial: Initial<'a>) -> Result<Initial<'a>, StartupError> {
    if body.rest().is_empty() { Ok(initial) } else { Err(StartupError::RequestLength) }
}

fn cancel(mut body: Cursor<'_>) -> Result<Initial<'_>, StartupError> {
    let pid = body.i32().map_err(|_| StartupError::RequestLength)?;
    let key = body.take_rest();
    if CANCEL_KEY_LEN.contains(&key.len()) {
        Ok(Initial::Cancel { pid, key })
    } else {
        Err(StartupError::RequestLength)
    }
}

/// What a StartupMessage says: a version and name–value pairs.
#[derive(Clone, Copy)]
pub struct StartupParameters<'a> {
    /// The version the client would like: 3.x.
    pub protocol: ProtocolVersion,
    /// Pairs of NUL-terminated texts, without the final NUL. Checked by `parse`.
    pairs: &'a [u8],
}

impl<'a> StartupParameters<'a> {
    fn parse(protocol: ProtocolVersion, mut body: Cursor<'a>) -> Result<Self, StartupError> {
        if protocol.major != 3 {
            return Err(StartupError::UnsupportedProtocol(protocol));
        }
        let Some((0, pairs)) = body.rest().split_last() else {
            return Err(StartupError::Layout);
        };
        let mut count = 0_usize;
        loop {
            let name = body.cstr().map_err(|_| StartupError::Layout)?;
            if name.is_empty() {
                break;
            }
            let value = body.cstr().map_err(|_| StartupError::Layout)?;
            if std::str::from_utf8(name).is_err() || std::str::from_utf8(value).is_err() {
                return Err(StartupError::NotUtf8);
            }
            count = count.saturating_add(1);
            if count > PAIRS_MAX {
                return Err(StartupError::TooManyPairs);
            }
        }
        body.finish().map_err(|_| StartupError::Layout)?;
        let parameters = StartupParameters { protocol, pairs };
        if parameters.user().is_empty() {
            return Err(StartupError::NoUser);
        }
        Ok(parameters)
    }

    /// All pairs in order, `user` and `database` among them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut pairs = Cursor::new(self.pairs, "StartupMessage");
        std::iter::from_fn(move || {
            let name = std::str::from_utf8(pairs.cstr().ok()?).ok()?;
            let value = std::str::from_utf8(pairs.cstr().ok()?).ok()?;
            Some((name, value))
        })
    }

    /// The value of `name`; the last one, if it is there more than once, as in PostgreSQL.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().filter(|&(found, _)| found == name).last().map(|(_, value)| value)
    }

    /// The role that wants to log in. Never empty.
    pub fn user(&self) -> &'a str {
        self.get("user").unwrap_or_default()
    }

    /// The database it wants: `database` if given and not empty, else the user's name.
    pub fn database(&self) -> &'a str {
        self.get("database").filter(|name| !name.is_empty()).unwrap_or_else(|| self.user())
    }

    /// The names of protocol extensions asked for. We know none, so each is to be listed in NegotiateProtocolVersion; new libpq
    /// versions ask for made-up ones to keep everybody honest.
    pub fn unsupported_options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_."))
    }
}

impl std::fmt::Debug for StartupParameters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.protocol)?;
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A first packet that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupError {
    /// The first bytes are those of TLS, without an SSLRequest before them.
    DirectTls,
    /// A length that no first packet has.
    Length {
        /// The declared length in bytes.
        declared: u32,
    },
    /// An SSLRequest, GSSENCRequest or CancelRequest that is longer or shorter than one.
    RequestLength,
    /// A major version other than 3.
    UnsupportedProtocol(ProtocolVersion),
    /// The pairs do not end with a NUL as the packet's last byte.
    Layout,
    /// A name or a value is not UTF-8.
    NotUtf8,
    /// More than [`PAIRS_MAX`] pairs.
    TooManyPairs,
    /// No user name was given.
    NoUser,
    /// The `options` parameter holds something else than `-c name=value` and `--name=value`.
    UnsupportedOption,
    /// A setting in the `options` parameter has no name or no value.
    IncompleteOption,
    /// The `options` parameter holds more than [`OPTIONS_MAX`] settings.
    TooManyOptions,
}

impl StartupError {
    /// What the client is told; the codes are PostgreSQL's for the same mistakes.
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            StartupError::UnsupportedProtocol(_) | StartupError::DirectTls => SqlState::FEATURE_NOT_SUPPORTED,
            StartupError::NoUser => SqlState::INVALID_AUTHORIZATION,
            StartupError::UnsupportedOption | StartupError::IncompleteOption => SqlState::SYNTAX_ERROR,
            StartupError::TooManyOptions | StartupError::TooManyPairs => SqlState::PROGRAM_LIMIT_EXCEEDED,
            StartupError::Length { .. }
            | StartupError::RequestLength
            | StartupError::Layout
            | StartupError::NotUtf8 => SqlState::PROTOCOL_VIOLATION,
        }
    }
}

/// A first packet too short for its own code is a layout error like any other.
impl From<Malformed> for StartupError {
    fn from(_: Malformed) -> Self {
        StartupError::Layout
    }
}

impl std::fmt::Display for StartupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartupError::DirectTls => {
                f.write_str("TLS without a request for it is not supported here: set sslnegotiation=postgres on the client")
            }
            StartupError::Length { declared } => write!(
                f,
                "invalid length of startup packet: {declared} bytes; {PACKET_LEN_MIN} to {PACKET_LEN_MAX} are allowed"
            ),
            StartupError::RequestLength => f.write_str("invalid length of an encryption or cancel request"),
            StartupError::UnsupportedProtocol(version) => {
                write!(f, "unsupported frontend protocol {version}: Highwater speaks 3.0 and later 3.x")
            }
            StartupError::Layout => {
                f.write_str("invalid startup packet layout: expected name and value pairs and a terminator as last byte")
            }
            StartupError::NotUtf8 => f.write_str("startup parameters must be UTF-8"),
            StartupError::TooManyPairs => write!(f, "more than {PAIRS_MAX} parameters in startup packet"),
            StartupError::NoUser => f.write_str("no PostgreSQL user name specified in startup packet"),
            StartupError::UnsupportedOption => f.write_str(
                "unsupported switch in the startup parameter \"options\": only -c name=value and --name=value are allowed",
            ),
            StartupError::IncompleteOption => {
                f.write_str("a setting in the startup parameter \"options\" has no name or no value: write -c name=value")
            }
            StartupError::TooManyOptions => {
                write!(f, "more than {OPTIONS_MAX} settings in the startup parameter \"options\"")
            }
        }
    }
}

impl std::error::Error for StartupError {}
