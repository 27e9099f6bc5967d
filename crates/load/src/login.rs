//! Logging in: start-up, trust, SCRAM-SHA-256, md5 or a plain password, up to the first ReadyForQuery. Bytes in, bytes out; the socket is the caller's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wire::auth::md5::md5_password;
use wire::auth::scram::{AwaitServerFinal, Challenge, ClientExchange, Gs2, MECHANISM, ScramKeys};
use wire::backend::Authentication;
use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame::tag::backend as tag;
use wire::startup::encode_startup;

use crate::error::Error;

/// Where to connect, and as whom.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// As whom.
    pub user: String,
    /// To which database.
    pub database: String,
    /// The password; none where the server trusts.
    pub password: Option<String>,
    /// Further parameters of the start-up packet, such as application_name.
    pub parameters: Vec<(String, String)>,
    keys: Arc<Mutex<Option<Remembered>>>,
}

/// Keys that were derived once: thousands of hashes that would otherwise be the generator's cost at every login.
struct Remembered {
    salt: Vec<u8>,
    iterations: u32,
    keys: ScramKeys,
}

impl Target {
    /// A target that asks for no password.
    pub fn new(address: SocketAddr, user: &str, database: &str) -> Target {
        Target {
            address,
            user: user.to_owned(),
            database: database.to_owned(),
            password: None,
            parameters: Vec::new(),
            keys: Arc::default(),
        }
    }

    /// The same with a password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Target {
        self.password = Some(password.to_owned());
        self
    }

    fn password(&self) -> Result<&str, Error> {
        self.password.as_deref().ok_or(Error::PasswordWanted)
    }

    /// The keys for this challenge, derived once per salt.
    fn keys(&self, challenge: &Challenge) -> Result<ScramKeys, Error> {
        let password = self.password()?;
        let mut kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.as_ref()
            && known.salt == challenge.salt()
            && known.iterations == challenge.iterations()
        {
            return Ok(known.keys.clone());
        }
        let keys = ScramKeys::derive(password.as_bytes(), challenge.salt(), challenge.iterations());
        *kept = Some(Remembered {
            salt: challenge.salt().to_vec(),
            iterations: challenge.iterations(),
            keys: keys.clone(),
        });
        Ok(keys)
    }
}

/// Whether the login goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Waiting,
    Ready,
}

/// A login under way.
pub(crate) struct Login {
    state: State,
}

enum State {
    Started,
    First(ClientExchange),
    Final(AwaitServerFinal),
    Accepted,
}

impl Login {
    /// Begins one: appends the first packet.
    pub(crate) fn begin(target: &Target, out: &mut Vec<u8>) -> Result<Login, Error> {
        let mut parameters = vec![("user", target.user.as_str()), ("database", target.database.as_str())];
        parameters.extend(target.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        encode_startup(out, &parameters).map_err(|error| Error::Protocol(error.to_string()))?;
        Ok(Login { state: State::Started })
    }

    /// A whole message has come; appends what to answer.
    pub(crate) fn on_frame(
        &mut self,
        target: &Target,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, Error> {
        match frame.first().copied() {
            Some(tag::AUTHENTICATION) => self.on_authentication(target, frame, out)?,
            Some(tag::ERROR_RESPONSE) => return Err(refused(frame)),
            Some(tag::READY_FOR_QUERY) if matches!(self.state, State::Accepted) => {
                return Ok(Progress::Ready);
            }
            Some(tag::READY_FOR_QUERY) => {
                return Err(Error::Protocol("it is ready before it has let us in".to_owned()));
            }
            _ => {}
        }
        Ok(Progress::Waiting)
    }

    fn on_authentication(&mut self, target: &Target, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let broken = |error: &dyn std::fmt::Display| Error::Protocol(error.to_string());
        let asked = Authentication::parse(frame).map_err(|error| broken(&error))?;
        self.state = match (asked, std::mem::replace(&mut self.state, State::Started)) {
            (Authentication::Ok, State::Started | State::Accepted) => State::Accepted,
            (Authentication::CleartextPassword, State::Started) => {
                encode::password(out, target.password()?.as_bytes()).map_err(|error| broken(&error))?;
                State::Accepted
            }
            (Authentication::Md5Password { salt }, State::Started) => {
                let answer = md5_password(target.user.as_bytes(), target.password()?.as_bytes(), salt);
                encode::password(out, answer.expose()).map_err(|error| broken(&error))?;
                State::Accepted
            }
            (Authentication::Sasl(_), State::Started) => {
                let exchange =
                    ClientExchange::new(&nonce()?, Gs2::Unsupported).map_err(|error| broken(&error))?;
                encode::sasl_initial_response(out, MECHANISM, exchange.first_message().as_bytes())
                    .map_err(|error| broken(&error))?;
                State::First(exchange)
            }
            (Authentication::SaslContinue(data), State::First(exchange)) => {
                let challenge = exchange.challenge(data).map_err(|error| broken(&error))?;
                let (message, next) = {
                    let keys = target.keys(&challenge)?;
                    challenge.respond(&keys)
                };
                encode::sasl_response(out, message.as_bytes()).map_err(|error| broken(&error))?;
                State::Final(next)
            }
            (Authentication::SaslFinal(data), State::Final(awaiting)) => {
                awaiting.verify(data).map_err(|error| broken(&error))?;
                State::Accepted
            }
            _ => {
                return Err(Error::Protocol(
                    "it asks for an authentication method other than SCRAM-SHA-256, md5 or a password, or out of turn"
                        .to_owned(),
                ));
            }
        };
        Ok(())
    }
}

fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).map_err(|error| Error::Protocol(format!("no random bytes: {error}")))?;
    Ok(BASE64.encode(bytes))
}

/// The error that an ErrorResponse at login is.
pub(crate) fn refused(frame: &[u8]) -> Error {
    let Ok(fields) = ErrorFields::parse(frame) else {
        return Error::Protocol("an ErrorResponse that is none".to_owned());
    };
    Error::Refused { sqlstate: sqlstate(frame), message: fields.message().unwrap_or_default().into_owned() }
}

/// The SQLSTATE of an ErrorResponse; `?????` if it has none.
pub(crate) fn sqlstate(frame: &[u8]) -> String {
    let code = ErrorFields::parse(frame).ok().and_then(|fields| fields.sqlstate());
    code.map_or_else(|| "?????".to_owned(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::auth::ScramVerifier;
    use wire::auth::scram::ServerExchange;
    use wire::status::TransactionStatus;

    fn target() -> Target {
        Target::new(SocketAddr::from(([127, 0, 0, 1], 1)), "bench", "bench").with_password("secret")
    }

    fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&mut frame);
        frame
    }

    #[test]
    fn a_scram_login_ends_only_when_the_server_has_proved_itself() {
        let (target, mut out) = (target(), Vec::new());
        let mut login = Login::begin(&target, &mut out).expect("a plain start-up");
        let server = ServerExchange::new(ScramVerifier::from_password(b"secret", b"0123456789abcdef", 4096));
        let answer = |login: &mut Login, frame: &[u8]| {
            let mut out = Vec::new();
            login.on_frame(&target, frame, &mut out).map(|progress| (progress, out))
        };

        let offered = frame(|out| encode::authentication_sasl(out, &[MECHANISM]).expect("short"));
        let (_, first) = answer(&mut login, &offered).expect("a mechanism we know");
        // Tag, length, the mechanism's name with its NUL, and the length of the data.
        let first = &first[5 + MECHANISM.len() + 1 + 4..];
        let (challenge, server) =
            server.client_first(first, "0123456789abcdef01234567").expect("a first message");
        let challenge =
            frame(|out| encode::authentication_sasl_continue(out, challenge.as_bytes()).expect("short"));
        let (_, last) = answer(&mut login, &challenge).expect("a challenge");
        assert!(server.client_final(&last[5..]).is_ok());

        let forged = frame(|out| {
            encode::authentication_sasl_final(out, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
                .expect("short");
        });
        assert!(answer(&mut login, &forged).is_err());
    }

    #[test]
    fn being_ready_before_being_in_is_refused() {
        let (target, mut out) = (target(), Vec::new());
        let mut login = Login::begin(&target, &mut out).expect("a plain start-up");
        let ready = frame(|out| encode::ready_for_query(out, TransactionStatus::Idle));
        assert!(login.on_frame(&target, &ready, &mut out).is_err());
        let ok = frame(encode::authentication_ok);
        assert_eq!(login.on_frame(&target, &ok, &mut out).ok(), Some(Progress::Waiting));
        assert_eq!(login.on_frame(&target, &ready, &mut out).ok(), Some(Progress::Ready));
    }
}
