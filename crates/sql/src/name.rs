//! Names as they are written, folded as PostgreSQL folds them, without allocating.
//!
//! Does not look anything up.

use crate::catalogue::Name;
use crate::lexer::{Kind, Token};

/// PostgreSQL cuts names at this many bytes (`NAMEDATALEN - 1`); longer ones are left to the grammar.
const NAME_BYTES_MAX: usize = 63;

/// One folded name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
}

impl Folded {
    /// Of a [`Kind::Word`] or [`Kind::QuotedWord`]. `None` for a name with a doubled quote in it, or too long a name.
    pub(crate) fn new(text: &str, token: Token) -> Option<Self> {
        let written = &text.as_bytes()[token.start..token.end];
        let (written, quoted) = match token.kind {
            Kind::Word => (written, false),
            Kind::QuotedWord => (&written[1..written.len() - 1], true),
            _ => return None,
        };
        if written.len() > NAME_BYTES_MAX || (quoted && written.contains(&b'"')) {
            return None;
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        let folded = &mut bytes[..written.len()];
        folded.copy_from_slice(written);
        if !quoted {
            folded.make_ascii_lowercase();
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most NAME_BYTES_MAX")]
        let length = written.len() as u8;
        Some(Self { bytes, length })
    }

    /// The name.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The name, as text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a token of a text is text, and folding is ASCII only")
    }
}

/// A name of any length, folded and cut as PostgreSQL does it (`downcase_truncate_identifier`).
pub(crate) fn owned(text: &str, token: Token) -> Option<String> {
    let written = &text[token.start..token.end];
    let mut name = match token.kind {
        Kind::Word => written.to_ascii_lowercase(),
        Kind::QuotedWord => written[1..written.len() - 1].replace("\"\"", "\""),
        _ => return None,
    };
    let mut length = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    name.truncate(length);
    Some(name)
}

/// The last two parts of a dotted name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// The last part but one.
    pub(crate) schema: Option<Token>,
    /// The last part.
    pub(crate) object: Token,
}

impl Chain {
    /// Folds the parts and hands them on. `None` when a part cannot be folded.
    pub(crate) fn with<R>(&self, text: &str, judge: impl FnOnce(&Name<'_>) -> R) -> Option<R> {
        let object = Folded::new(text, self.object)?;
        let schema = match self.schema {
            Some(token) => Some(Folded::new(text, token)?),
            None => None,
        };
        Some(judge(&Name { schema: schema.as_ref().map(Folded::as_bytes), object: object.as_bytes() }))
    }
}
