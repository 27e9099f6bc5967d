//! What a text does, in this session's circumstances: with its search path, and with strings read as its backends read
//! them. Only asks; what follows from a verdict is decided elsewhere.

use std::sync::Arc;

use sql::{SearchPath, Verdict};

use super::backend::Strings;
use super::{Context, Session, says_on};

/// A search path whose value is known.
#[derive(Debug)]
pub(super) struct KnownPath {
    text: String,
    parsed: SearchPath,
    /// Tells verdicts for different paths apart.
    key: u64,
}

impl Session {
    /// What a text does.
    pub(super) fn judge(&mut self, text: &[u8], cx: &mut Context<'_>) -> Arc<Verdict> {
        if !text.is_ascii() && self.settings.tracked.encoding_deceives() {
            return Arc::new(Verdict::bare(sql::Class::Unknown, sql::Why::NonUtf8));
        }
        // Without a backslash it makes no difference.
        let escaping = self.may_escape() && text.contains(&b'\\');
        let context = self.context(escaping, cx);
        let unknown = SearchPath::unknown();
        let search_path = self.settings.search_path.as_ref().map_or(&unknown, |path| &path.parsed);
        let environment =
            sql::Environment { catalogue: cx.catalogue, search_path, standard_conforming_strings: !escaping };
        cx.shared.memo.get_or_classify(text, context, &environment)
    }

    /// A number for everything besides the text that a verdict depends on.
    pub(super) fn judgement_context(&mut self, cx: &Context<'_>) -> u64 {
        self.context(self.may_escape(), cx)
    }

    /// May a backslash in a plain string mean something? Yes, as long as it is not known.
    fn may_escape(&self) -> bool {
        self.settings.strings != Some(Strings::Standard) || self.settings.tracked.sets_strings()
    }

    fn context(&mut self, escaping: bool, cx: &Context<'_>) -> u64 {
        // A path set by the session is a statement's text; only the default one is known as a value.
        let wanted = cx.default_search_path.filter(|_| !self.settings.tracked.sets_search_path());
        if self.settings.search_path.as_ref().map(|path| path.text.as_str()) != wanted {
            self.settings.search_path = wanted.map(|text| KnownPath {
                text: text.to_owned(),
                parsed: SearchPath::parse(text, &self.profile.user),
                key: sql::hash(text.as_bytes(), 2) as u64,
            });
        }
        let path_key = self.settings.search_path.as_ref().map_or(0, |path| path.key);
        self.profile.database_key ^ path_key ^ (u64::from(escaping) << 1)
    }
}

/// What the client was told of its strings at login: what it asked for, or PostgreSQL's default.
pub(super) fn told_at_login(startup: &[(String, String)]) -> Strings {
    match startup.iter().rfind(|(name, _)| name == Strings::SETTING) {
        Some((_, value)) if !says_on(value) => Strings::Escaping,
        Some(_) | None => Strings::Standard,
    }
}
