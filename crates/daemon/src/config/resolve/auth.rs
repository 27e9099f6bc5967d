//! Who may log in: `[[user]]`, `auth_file`, the users of connection strings; and where secrets come from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use wire::auth::{ScramVerifier, Secret};

use super::Resolver;
use crate::config::file::Table;
use crate::config::mistake::Place;
use crate::config::settings::{AuthSettings, AuthType, UserSecret, UserSettings};
use crate::config::value::Value;
use crate::config::{secret, userlist};

impl Resolver<'_> {
    pub(super) fn auth(&mut self) -> AuthSettings {
        let auth_type = match self.top.word("auth_type") {
            Some("trust") => AuthType::Trust,
            _ => AuthType::Scram,
        };
        // By name, so that the strongest voice is heard: file of users, then [[user]], then connection strings.
        let mut users: BTreeMap<String, UserSettings> =
            self.auth_file().into_iter().map(|user| (user.name.clone(), user)).collect();
        let mut written = std::collections::BTreeSet::new();
        for table in self.top.tables("user") {
            let Some(user) = self.user(table, auth_type) else { continue };
            if !written.insert(user.name.clone()) {
                self.mistakes.add(table.place_of("name"), format!("two users have the name {:?}", user.name));
            }
            users.insert(user.name.clone(), user);
        }
        self.users_of_dsns(auth_type, &mut users);
        if auth_type == AuthType::Scram && users.is_empty() && self.mistakes.is_empty() {
            self.mistakes.add(
                self.top.place_of("auth_type"),
                "nobody could log in: write a [[user]] with name and password, name an auth_file, or set auth_type = \"trust\"",
            );
        }
        AuthSettings { auth_type, users: users.into_values().collect() }
    }

    fn user(&mut self, table: &Table, auth_type: AuthType) -> Option<UserSettings> {
        let name = self.required(table, "name");
        let plain = self.secret(table);
        let verifier = match table.entry("verifier").map(|entry| &entry.value) {
            Some(Value::Secret(text)) => self.verifier(table, text),
            _ => None,
        };
        let secret = plain.map(UserSecret::Plain).or(verifier.map(UserSecret::Verifier));
        let unsaid = ["password", "password_file", "password_env", "password_command", "verifier"]
            .iter()
            .all(|key| table.lacks(key));
        if auth_type == AuthType::Scram && unsaid {
            self.mistakes.add(
                &table.place,
                "[[user]]: a password or verifier is missing, without which nobody can log in",
            );
        }
        Some(UserSettings { name: name?, secret })
    }

    fn verifier(&mut self, table: &Table, text: &Secret) -> Option<ScramVerifier> {
        let place = table.place_of("verifier");
        let text = std::str::from_utf8(text.expose()).expect("it was a string");
        match ScramVerifier::parse(text) {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                self.mistakes.add(place, format!("verifier: {error}"));
                None
            }
        }
    }

    /// The secret of a table with the four `password` keys.
    pub(super) fn secret(&mut self, table: &Table) -> Option<Secret> {
        let mut found: Option<Secret> = None;
        let mut first: Option<&'static str> = None;
        for key in ["password", "password_file", "password_env", "password_command", "verifier"] {
            let Some(entry) = table.section.key(key).and_then(|_| table.entry(key)) else { continue };
            if let Some(first) = first {
                self.mistakes.add(&entry.place, format!("{key} and {first} are both given: one is enough"));
                continue;
            }
            first = Some(key);
            let outcome = match (key, &entry.value) {
                ("password", Value::Secret(secret)) => Ok(Some(secret.clone())),
                ("password_file", Value::Text(path)) => {
                    secret::from_file(&self.path(path), self.open_allowed()).map(Some)
                }
                ("password_env", Value::Text(name)) => secret::from_env(name, self.env).map(Some),
                ("password_command", Value::Text(command)) => secret::from_command(command).map(Some),
                _ => Ok(None),
            };
            match outcome {
                Ok(secret) => found = secret,
                Err(why) => self.mistakes.add(&entry.place, format!("{key}: {why}")),
            }
        }
        found
    }

    fn auth_file(&mut self) -> Vec<UserSettings> {
        let Some(written) = self.top.text("auth_file").filter(|path| !path.is_empty()) else {
            return Vec::new();
        };
        let place = self.top.place_of("auth_file").clone();
        let path = self.path(&written);
        let read = secret::check_mode(&path, self.open_allowed()).and_then(|()| {
            std::fs::read_to_string(&path).map_err(|e| format!("can't read {}: {e}", path.display()))
        });
        match read {
            Ok(text) => {
                let name: Arc<str> = path.display().to_string().into();
                userlist::read(&name, &text, self.mistakes)
            }
            Err(why) => {
                self.mistakes.add(&place, format!("auth_file: {why}"));
                Vec::new()
            }
        }
    }

    fn users_of_dsns(&mut self, auth_type: AuthType, users: &mut BTreeMap<String, UserSettings>) {
        for (dsn, place) in &self.dsns.all {
            let Some(name) = dsn.user.clone() else { continue };
            let known = users.get(&name).is_some_and(|user| user.secret.is_some());
            match &dsn.password {
                Some(password) => {
                    let secret = Some(UserSecret::Plain(password.clone()));
                    users.insert(name.clone(), UserSettings { name, secret });
                }
                None if known => {}
                None if auth_type == AuthType::Trust => {
                    users.insert(name.clone(), UserSettings { name, secret: None });
                }
                None => self.mistakes.add(
                    place,
                    format!("user {name:?} has no password, so no client can log in as it: give one, or set auth_type = \"trust\" (HIGHWATER_AUTH_TYPE=trust)"),
                ),
            }
        }
    }

    pub(super) fn admin_users(&mut self, auth: &AuthSettings) -> Vec<Arc<str>> {
        let table = self.section("admin");
        let Some(Value::Names(names)) = table.value("users") else { return Vec::new() };
        for name in &names {
            let known = auth.users.iter().any(|user| user.name == *name);
            if !known && auth.auth_type == AuthType::Scram && !auth.users.is_empty() {
                let valid = auth.users.iter().map(|user| user.name.as_str());
                let message = format!("users: there is no user {name:?} who could log in");
                self.mistakes.add_unknown(table.place_of("users"), message, (name, valid));
            }
        }
        names.into_iter().map(Arc::from).collect()
    }

    pub(super) fn check_trust(&mut self, auth: &AuthSettings, listen: &[SocketAddr]) {
        let open = listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        let Some(open) = open else { return };
        if auth.auth_type == AuthType::Trust && !self.top.flag("allow_insecure_trust") {
            let place: Place = self.top.place_of("auth_type").clone();
            self.mistakes.add(
                &place,
                format!("trust on {open} lets everybody in who can reach it: use \"scram-sha-256\", listen on loopback, or set allow_insecure_trust = true"),
            );
        }
    }
}
