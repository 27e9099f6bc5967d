//! Who may log in, and what the router knows to log in to nodes as them.
//!
//! A client's identity and the identity used on a node are the same name, always: there is no user to fall back to.
//! Whether a database or a node lets the user in is not known here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wire::auth::scram::{Accepted, ScramKeys, ServerExchange};
use wire::auth::verifier::ITERATIONS_DEFAULT;
use wire::auth::{ScramVerifier, Secret};
use zeroize::Zeroizing;

use crate::config::{AuthSettings, AuthType, UserSecret};

/// Most derived or recovered keys kept; when there would be more, all are forgotten and come back one by one.
const KEYS_MAX: usize = 10_000;

/// Bytes of a salt that the router makes, as PostgreSQL's (`SCRAM_DEFAULT_SALT_LEN`).
const SALT_LEN: usize = 16;

/// The users of the settings in force.
pub(crate) struct Users {
    auth_type: AuthType,
    entries: BTreeMap<Arc<str>, Entry>,
    keys: Arc<Keys>,
}

/// What is known of one user.
#[derive(PartialEq)]
struct Entry {
    /// As configured; to see whether a reload changed it.
    secret: Option<UserSecret>,
    /// What a client's proof is verified against.
    verifier: Option<ScramVerifier>,
}

/// How to answer a node that asks for a password.
pub(crate) enum Credential {
    /// Keys that fit the node's salt and iterations.
    Keys(ScramKeys),
    /// The password: keys are to be derived from it and remembered.
    Password(Secret),
    /// Only a verifier is known, and it isn't the node's; or no client of this user has logged in yet.
    OnlyVerifier,
    /// Nothing is known.
    Nothing,
}

/// Secrets that outlive a reload: keys learned, and the secret that made-up salts are made from.
pub(crate) struct Keys {
    mock: Zeroizing<[u8; 32]>,
    learned: Mutex<HashMap<KeyName, ScramKeys>>,
}

/// Keys belong to a user's password, a salt and a number of iterations.
type KeyName = (Arc<str>, Vec<u8>, u32);

impl Users {
    /// The users of these settings; what was learned about unchanged users of `before` is kept.
    ///
    /// Takes about a millisecond of processor time for each user with a new plain password.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub(crate) fn new(settings: &AuthSettings, before: Option<&Users>) -> Result<Users, getrandom::Error> {
        let keys = match before {
            Some(before) => Arc::clone(&before.keys),
            None => Arc::new(Keys::new()?),
        };
        let mut entries = BTreeMap::new();
        for user in &settings.users {
            let name: Arc<str> = user.name.as_str().into();
            let old = before.and_then(|before| before.entries.get(&name));
            let verifier = match old {
                Some(old) if old.secret == user.secret => old.verifier.clone(),
                _ => {
                    keys.forget(&name);
                    verifier_of(user.secret.as_ref())?
                }
            };
            entries.insert(name, Entry { secret: user.secret.clone(), verifier });
        }
        for (name, _) in before.iter().flat_map(|before| &before.entries) {
            if !entries.contains_key(name) {
                keys.forget(name);
            }
        }
        Ok(Users { auth_type: settings.auth_type, entries, keys })
    }

    /// How clients prove who they are.
    pub(crate) fn auth_type(&self) -> AuthType {
        self.auth_type
    }

    /// Names of the users listed, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// Begins to verify a client. Somebody unknown, or known without a secret, goes through the same exchange and
    /// fails at its end, so that names can't be probed.
    pub(crate) fn exchange(&self, user: &str) -> ServerExchange {
        match self.entries.get(user).and_then(|entry| entry.verifier.clone()) {
            Some(verifier) => ServerExchange::new(verifier),
            None => ServerExchange::mock(&self.keys.mock_salt(user), ITERATIONS_DEFAULT),
        }
    }

    /// A client proved to be this user: where only a verifier is known, its key is what opens the nodes.
    pub(crate) fn on_accepted(&self, user: &str, accepted: Accepted) {
        let Some((name, entry)) = self.entries.get_key_value(user) else { return };
        let (Some(UserSecret::Verifier(_)), Some(verifier)) = (&entry.secret, &entry.verifier) else {
            return;
        };
        let keys = ScramKeys { client_key: accepted.client_key, server_key: verifier.server_key().clone() };
        self.keys.remember((Arc::clone(name), verifier.salt().to_vec(), verifier.iterations()), keys);
    }

    /// What to answer a node that uses SCRAM with this salt and these iterations.
    pub(crate) fn for_scram(&self, user: &str, salt: &[u8], iterations: u32) -> Credential {
        let Some((name, entry)) = self.entries.get_key_value(user) else { return Credential::Nothing };
        if let Some(keys) = self.keys.find(&(Arc::clone(name), salt.to_vec(), iterations)) {
            return Credential::Keys(keys);
        }
        match &entry.secret {
            Some(UserSecret::Plain(password)) => Credential::Password(password.clone()),
            Some(UserSecret::Verifier(_)) => Credential::OnlyVerifier,
            None => Credential::Nothing,
        }
    }

    /// The password itself, for nodes that ask for it or for its MD5 form.
    pub(crate) fn password(&self, user: &str) -> Option<&Secret> {
        match &self.entries.get(user)?.secret {
            Some(UserSecret::Plain(password)) => Some(password),
            Some(UserSecret::Verifier(_)) | None => None,
        }
    }

    /// Keeps keys derived from the password of [`Credential::Password`].
    pub(crate) fn remember(&self, user: &str, (salt, iterations): (&[u8], u32), keys: ScramKeys) {
        if let Some((name, _)) = self.entries.get_key_value(user) {
            self.keys.remember((Arc::clone(name), salt.to_vec(), iterations), keys);
        }
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.entries.len())
    }
}

impl Keys {
    fn new() -> Result<Keys, getrandom::Error> {
        let mut mock = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *mock)?;
        Ok(Keys { mock, learned: Mutex::default() })
    }

    /// Always the same for a name, so that asking twice tells nothing; nobody can compute it.
    fn mock_salt(&self, user: &str) -> [u8; SALT_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.mock).expect("HMAC takes keys of every length");
        mac.update(user.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|i| digest[i])
    }

    fn find(&self, name: &KeyName) -> Option<ScramKeys> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn remember(&self, name: KeyName, keys: ScramKeys) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.len() >= KEYS_MAX {
            learned.clear();
        }
        learned.insert(name, keys);
    }

    fn forget(&self, user: &str) {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _, _), _| &**name != user);
    }
}

fn verifier_of(secret: Option<&UserSecret>) -> Result<Option<ScramVerifier>, getrandom::Error> {
    match secret {
        Some(UserSecret::Verifier(verifier)) => Ok(Some(verifier.clone())),
        Some(UserSecret::Plain(password)) => {
            let mut salt = [0; SALT_LEN];
            getrandom::fill(&mut salt)?;
            Ok(Some(ScramVerifier::from_password(password.expose(), &salt, ITERATIONS_DEFAULT)))
        }
        None => Ok(None),
    }
}

/// A fresh nonce for either side of SCRAM: 18 random bytes in base64, as libpq's (`SCRAM_RAW_NONCE_LEN`).
///
/// # Errors
/// The operating system has no randomness to give.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserSettings;
    use wire::auth::scram::{ClientExchange, Gs2, ScramError};

    fn users(auth_type: AuthType, secrets: &[(&str, Option<UserSecret>)], before: Option<&Users>) -> Users {
        let users = secrets
            .iter()
            .map(|(name, secret)| UserSettings { name: (*name).into(), secret: secret.clone() });
        Users::new(&AuthSettings { auth_type, users: users.collect() }, before).unwrap()
    }

    fn plain(password: &str) -> Option<UserSecret> {
        Some(UserSecret::Plain(Secret::new(password)))
    }

    fn log_in(users: &Users, user: &str, password: &str) -> Result<Accepted, ScramError> {
        let client = ClientExchange::new(&nonce().unwrap(), Gs2::Unsupported).unwrap();
        let (first, server) =
            users.exchange(user).client_first(client.first_message().as_bytes(), &nonce().unwrap())?;
        let (last, _, _) = client.challenge(first.as_bytes())?.respond_with_password(password.as_bytes());
        server.client_final(last.as_bytes())
    }

    #[test]
    fn a_user_logs_in_with_the_password_and_nobody_else_does() {
        let users = users(AuthType::Scram, &[("a", plain("x")), ("none", None)], None);
        assert!(log_in(&users, "a", "x").is_ok());
        for (user, password) in [("a", "y"), ("b", "x"), ("none", ""), ("none", "x")] {
            assert_eq!(log_in(&users, user, password).unwrap_err(), ScramError::InvalidProof, "{user}");
        }
    }

    #[test]
    fn the_salt_of_somebody_unknown_is_stable_and_differs_by_name() {
        let users = users(AuthType::Scram, &[], None);
        assert_eq!(users.keys.mock_salt("a"), users.keys.mock_salt("a"));
        assert_ne!(users.keys.mock_salt("a"), users.keys.mock_salt("b"));
    }

    #[test]
    fn a_verifier_opens_nodes_only_after_the_users_own_login_and_only_with_the_same_salt() {
        let verifier = ScramVerifier::from_password(b"x", b"0123456789abcdef", 4096);
        let users = users(AuthType::Scram, &[("a", Some(UserSecret::Verifier(verifier)))], None);
        assert!(matches!(users.for_scram("a", b"0123456789abcdef", 4096), Credential::OnlyVerifier));
        let accepted = log_in(&users, "a", "x").unwrap();
        users.on_accepted("a", accepted);
        let Credential::Keys(keys) = users.for_scram("a", b"0123456789abcdef", 4096) else {
            panic!("no keys")
        };
        assert_eq!(keys, ScramKeys::derive(b"x", b"0123456789abcdef", 4096));
        assert!(matches!(users.for_scram("a", b"another salt", 4096), Credential::OnlyVerifier));
        assert!(matches!(users.for_scram("b", b"0123456789abcdef", 4096), Credential::Nothing));
        assert!(users.password("a").is_none());
    }

    #[test]
    fn keys_of_a_password_are_derived_once_and_forgotten_when_it_changes() {
        let first = users(AuthType::Scram, &[("a", plain("x")), ("b", plain("x"))], None);
        assert!(matches!(first.for_scram("a", b"salt", 1), Credential::Password(_)));
        for user in ["a", "b"] {
            first.remember(user, (b"salt", 1), ScramKeys::derive(b"x", b"salt", 1));
        }
        assert!(matches!(first.for_scram("a", b"salt", 1), Credential::Keys(_)));
        let second = users(AuthType::Scram, &[("a", plain("y")), ("b", plain("x"))], Some(&first));
        assert!(matches!(second.for_scram("a", b"salt", 1), Credential::Password(_)));
        assert!(matches!(second.for_scram("b", b"salt", 1), Credential::Keys(_)));
        assert!(log_in(&second, "a", "y").is_ok());
    }
}
