//! The first tier on a query: one pass over its tokens, without allocating.
//!
//! Every bracketed name is taken for a call and every name after FROM for a relation; what that reading cannot settle
//! is reported as unsure, and the second tier (`grammar`) decides. It never takes a call or a relation for less than
//! it is, so that being sure of a read needs no tree.

use crate::catalogue::Name;
use crate::class::{Class, Why};
use crate::fingerprint::Fingerprint;
use crate::judge::Judge;
use crate::keywords::{Role, role};
use crate::lexer::{Kind, Lexer, Token};
use crate::name::{Chain, Folded};
use crate::{Effects, NESTING_MAX};

/// Brackets deeper than this are left to the grammar.
const DEPTH: usize = 16;

/// Scans from where the lexer stands to the end of the statement, before its semicolon. Answers what it is not sure of.
pub(crate) fn scan(
    text: &str,
    lexer: &mut Lexer<'_>,
    judge: &mut Judge<'_>,
    shape: &mut Fingerprint,
) -> Option<Why> {
    let mut scan = Scan {
        text,
        judge,
        shape,
        unsure: None,
        frames: [Frame::CLAUSE; DEPTH],
        depth: 0,
        before: Before::Other,
    };
    scan.run(lexer);
    scan.unsure
}

struct Scan<'s, 'e> {
    text: &'s str,
    judge: &'s mut Judge<'e>,
    shape: &'s mut Fingerprint,
    unsure: Option<Why>,
    frames: [Frame; DEPTH],
    depth: usize,
    before: Before,
}

/// What an open bracket is.
#[derive(Clone, Copy)]
struct Frame {
    kind: FrameKind,
    /// Of a call: commas so far.
    commas: u32,
    /// Of a call: no argument, or only `*`.
    empty: bool,
    from: From,
}

#[derive(Clone, Copy)]
enum FrameKind {
    /// A subquery, an expression, a list.
    Clause,
    /// The arguments of a function; ORDER BY ends their counting.
    Call { name: Chain, counting: bool },
    /// The list of DISTINCT ON, after which an operand begins.
    UniqueOn,
    /// The arguments of EXTRACT and its kin, in which FROM and FOR are no clauses.
    Special,
    /// `[`.
    Bracket,
}

/// Where in a query level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Not among the tables of FROM.
    Outside,
    /// Among them; a comma leads to the next.
    Inside,
    /// A table, a function or a bracket comes next.
    Expected,
}

/// The token before, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The end of an operand: a name, a literal, a closing bracket.
    Operand,
    /// IS, IS NOT.
    Is,
    /// DISTINCT after IS: a FROM that follows begins no clause.
    Distinct,
    /// DISTINCT that is not after IS.
    Unique,
    /// DISTINCT ON: the bracket that follows is no operand.
    UniqueOn,
    /// LEFT, RIGHT, …
    JoinSide,
    /// A type that VARYING may follow.
    Type,
    /// Anything else.
    Other,
}

impl Frame {
    const CLAUSE: Self = Self { kind: FrameKind::Clause, commas: 0, empty: false, from: From::Outside };
}

impl Scan<'_, '_> {
    fn run(&mut self, lexer: &mut Lexer<'_>) {
        loop {
            if self.depth == 0 && lexer.next_byte() == b';' {
                return;
            }
            let token = lexer.next();
            self.shape.token(self.text, token);
            let before = std::mem::replace(&mut self.before, Before::Other);
            match token.kind {
                Kind::End => break,
                Kind::Word => self.word(lexer, token, before),
                Kind::QuotedWord => self.name(lexer, token),
                Kind::String | Kind::DollarString | Kind::Number | Kind::Param => {
                    self.before = Before::Operand
                }
                Kind::Operator => self.operator(token),
                Kind::OpenParen if before == Before::UniqueOn => self.open(FrameKind::UniqueOn, lexer),
                Kind::OpenParen => self.open(FrameKind::Clause, lexer),
                Kind::OpenBracket => self.open(FrameKind::Bracket, lexer),
                Kind::CloseParen => self.close(false),
                Kind::CloseBracket => self.close(true),
                Kind::Comma => self.comma(),
                Kind::Dot => self.field(lexer, before),
                Kind::Cast => self.type_name(lexer),
                Kind::Colon => {}
                Kind::Semicolon | Kind::Bad => self.doubt(Why::Unsure),
            }
        }
        if self.depth > 0 {
            self.doubt(Why::Unsure);
        }
    }

    fn doubt(&mut self, why: Why) {
        if self.unsure.is_none() || why == Why::NestedTooDeep {
            self.unsure = Some(why);
        }
    }

    fn frame(&mut self) -> &mut Frame {
        &mut self.frames[self.depth.min(DEPTH - 1)]
    }

    fn from(&mut self, from: From) {
        self.frame().from = from;
    }

    fn word(&mut self, lexer: &mut Lexer<'_>, token: Token, before: Before) {
        let next = lexer.next_byte();
        if next == b'.' {
            return self.name(lexer, token);
        }
        match role(&self.text.as_bytes()[token.start..token.end]) {
            Role::Name => self.name(lexer, token),
            Role::Unreserved if next == b'(' && before == Before::Type && self.is(token, b"varying") => {}
            Role::Unreserved => {
                self.name(lexer, token);
                if next != b'(' {
                    self.before = Before::Other;
                }
            }
            Role::Operator | Role::Within if self.continues_oddly(lexer) => self.doubt(Why::Unsure),
            Role::Operator | Role::Within => self.name(lexer, token),
            Role::TypeOrFunction if next == b'(' => self.name(lexer, token),
            Role::Reserved if before == Before::Is && self.is(token, b"not") => self.before = Before::Is,
            Role::Reserved if before == Before::Unique && self.is(token, b"on") => {
                self.before = Before::UniqueOn
            }
            Role::TypeOrFunction | Role::Reserved => {}
            Role::Syntax => self.syntax(lexer, token, FrameKind::Clause),
            Role::SpecialCall => self.syntax(lexer, token, FrameKind::Special),
            Role::Infix if next == b'(' && (before != Before::Operand || self.own_volatile(token)) => {
                self.doubt(Why::Unsure);
            }
            Role::Infix if self.is(token, b"is") => self.before = Before::Is,
            Role::Infix => {}
            Role::JoinSide if next == b'(' => self.name(lexer, token),
            Role::JoinSide => self.before = Before::JoinSide,
            Role::Join => {
                let between = matches!(before, Before::Operand | Before::JoinSide);
                if next == b'(' && !(between && self.frame().from == From::Inside) {
                    self.doubt(Why::Unsure);
                }
                self.from(From::Expected);
            }
            Role::From if before == Before::Distinct || matches!(self.frame().kind, FrameKind::Special) => {}
            Role::From | Role::Table => self.from(From::Expected),
            Role::EndsFrom => self.ends_from(token),
            // A table may be called so.
            Role::Select
                if self.frame().from == From::Expected && self.is(token, b"values") && next != b'(' =>
            {
                self.name(lexer, token);
            }
            Role::Select => self.from(From::Outside),
            Role::Distinct if before == Before::Is => self.before = Before::Distinct,
            Role::Distinct => self.before = Before::Unique,
            Role::Lateral => {}
            Role::Into => self.into(lexer),
            Role::For => self.locking(lexer),
            Role::With => self.with(lexer),
            Role::As => self.label(lexer),
            Role::Elsewhere => self.doubt(Why::Unsure),
        }
    }

    /// OPERATOR ( … ) and WITHIN GROUP.
    fn continues_oddly(&self, lexer: &Lexer<'_>) -> bool {
        let next = lexer.peek();
        next.kind == Kind::OpenParen || self.is(next, b"group")
    }

    fn is(&self, token: Token, word: &[u8]) -> bool {
        token.kind == Kind::Word && self.text.as_bytes()[token.start..token.end].eq_ignore_ascii_case(word)
    }

    fn own_volatile(&self, token: Token) -> bool {
        let name = Folded::new(self.text, token);
        name.is_none_or(|name| self.judge.env().catalogue.own_volatile(name.as_bytes()))
    }

    /// A type, or what looks like a call: no function, unless an older version knows one of that name.
    fn syntax(&mut self, lexer: &mut Lexer<'_>, token: Token, kind: FrameKind) {
        if lexer.next_byte() != b'(' {
            if self.frame().from == From::Expected {
                return self.name(lexer, token);
            }
            self.before = self.before_varying(token);
            return;
        }
        if self.own_volatile(token) {
            self.doubt(Why::Unsure);
        }
        if self.frame().from == From::Expected {
            self.from(From::Inside);
        }
        let bracket = lexer.next();
        self.shape.token(self.text, bracket);
        self.open(kind, lexer);
    }

    /// A dotted name: a call, a relation or a column.
    fn name(&mut self, lexer: &mut Lexer<'_>, first: Token) {
        let Some(chain) = self.chain(lexer, first) else {
            return self.doubt(Why::Unsure);
        };
        self.before = Before::Operand;
        let expected = self.frame().from == From::Expected;
        if expected {
            self.from(From::Inside);
        }
        if lexer.next_byte() == b'(' {
            let bracket = lexer.next();
            self.shape.token(self.text, bracket);
            return self.open(FrameKind::Call { name: chain, counting: true }, lexer);
        }
        let judge = &mut *self.judge;
        let known = chain.with(self.text, |name| {
            judge.type_name(name);
            if expected { judge.relation(name) } else { !judge.env().catalogue.special_relation(name.object) }
        });
        match known {
            Some(true) => {}
            Some(false) if expected => self.doubt(Why::UnknownRelation),
            Some(false) | None => self.doubt(Why::Unsure),
        }
    }

    /// Follows the dots. `None` when something else than a name comes after one, but for a final `*`.
    fn chain(&mut self, lexer: &mut Lexer<'_>, first: Token) -> Option<Chain> {
        let mut chain = Chain { schema: None, object: first };
        while lexer.next_byte() == b'.' {
            let mut ahead = lexer.clone();
            let (dot, part) = (ahead.next(), ahead.next());
            let name = matches!(part.kind, Kind::Word | Kind::QuotedWord);
            if dot.kind != Kind::Dot || !(name || self.is_star(part)) {
                return None;
            }
            *lexer = ahead;
            self.shape.token(self.text, dot);
            self.shape.token(self.text, part);
            if !name {
                break;
            }
            chain = Chain { schema: Some(chain.object), object: part };
        }
        Some(chain)
    }

    /// `(…).field`.
    fn field(&mut self, lexer: &mut Lexer<'_>, before: Before) {
        let part = lexer.peek();
        let name = matches!(part.kind, Kind::Word | Kind::QuotedWord) || self.is_star(part);
        if name {
            lexer.next();
            self.shape.token(self.text, part);
        }
        if before != Before::Operand || !name || lexer.next_byte() == b'(' {
            self.doubt(Why::Unsure);
        }
        self.before = Before::Operand;
    }

    fn is_star(&self, token: Token) -> bool {
        token.kind == Kind::Operator && &self.text[token.start..token.end] == "*"
    }

    /// After AS: a label, which may be any word, or the type of a CAST.
    fn label(&mut self, lexer: &mut Lexer<'_>) {
        if lexer.next_byte() != b'(' {
            self.type_name(lexer);
        }
    }

    /// After `::` or AS. A bracket that follows is no call.
    fn type_name(&mut self, lexer: &mut Lexer<'_>) {
        let first = lexer.peek();
        if !matches!(first.kind, Kind::Word | Kind::QuotedWord) {
            return self.doubt(Why::Unsure);
        }
        lexer.next();
        self.shape.token(self.text, first);
        let chain = self.chain(lexer, first);
        let judge = &mut *self.judge;
        if chain.and_then(|chain| chain.with(self.text, |name| judge.type_name(name))).is_none() {
            return self.doubt(Why::Unsure);
        }
        self.before = match self.before_varying(first) {
            Before::Type => Before::Type,
            _ => Before::Operand,
        };
    }

    fn before_varying(&self, token: Token) -> Before {
        let types = [&b"character"[..], b"char", b"nchar", b"bit"];
        if types.iter().any(|word| self.is(token, word)) { Before::Type } else { Before::Other }
    }

    fn operator(&mut self, token: Token) {
        let name = Name { schema: None, object: &self.text.as_bytes()[token.start..token.end] };
        self.judge.operator(&name);
    }

    fn open(&mut self, kind: FrameKind, lexer: &mut Lexer<'_>) {
        let from = match kind {
            FrameKind::Clause => self.frame().from,
            FrameKind::Call { .. } | FrameKind::UniqueOn | FrameKind::Special | FrameKind::Bracket => {
                From::Outside
            }
        };
        // `FROM (a CROSS JOIN b)`: the tables go on inside; any other bracket starts afresh.
        let from = if from == From::Expected { From::Expected } else { From::Outside };
        if self.frame().from == From::Expected {
            self.from(From::Inside);
        }
        self.depth += 1;
        if self.depth >= DEPTH {
            let nesting = u32::try_from(self.depth).unwrap_or(u32::MAX);
            self.doubt(if nesting > NESTING_MAX { Why::NestedTooDeep } else { Why::Unsure });
            return;
        }
        let empty = matches!(lexer.next_byte(), b')' | b'*');
        *self.frame() = Frame { kind, commas: 0, empty, from };
    }

    fn close(&mut self, bracket: bool) {
        self.before = Before::Operand;
        if self.depth == 0 {
            return self.doubt(Why::Unsure);
        }
        let frame = *self.frame();
        let deep = self.depth >= DEPTH;
        self.depth -= 1;
        if deep {
            return;
        }
        if matches!(frame.kind, FrameKind::Bracket) != bracket {
            self.doubt(Why::Unsure);
        }
        if matches!(frame.kind, FrameKind::UniqueOn) {
            self.before = Before::Other;
        }
        if let FrameKind::Call { name, .. } = frame.kind {
            let arguments = if frame.empty { 0 } else { frame.commas + 1 };
            let judge = &mut *self.judge;
            match name.with(self.text, |name| judge.call(name, Some(arguments))) {
                Some(true) => {}
                Some(false) => self.doubt(Why::UnknownFunction),
                None => self.doubt(Why::Unsure),
            }
        }
    }

    fn comma(&mut self) {
        let frame = self.frame();
        if frame.from == From::Inside {
            frame.from = From::Expected;
        }
        if !matches!(frame.kind, FrameKind::Call { counting: false, .. }) {
            frame.commas += 1;
        }
    }

    fn ends_from(&mut self, token: Token) {
        self.from(From::Outside);
        let order = self.is(token, b"order");
        if let FrameKind::Call { counting, .. } = &mut self.frame().kind {
            *counting &= !order;
        }
    }

    /// INTO is reserved: a name after AS or a dot was taken already.
    fn into(&mut self, lexer: &Lexer<'_>) {
        self.judge.worsen(Class::Writes, Why::SelectInto);
        let mut ahead = lexer.clone();
        let mut next = ahead.next();
        if self.is(next, b"local") || self.is(next, b"global") {
            next = ahead.next();
        }
        if self.is(next, b"temp") || self.is(next, b"temporary") {
            self.judge.effects |= Effects::TEMP_OBJECT;
        }
    }

    fn locking(&mut self, lexer: &Lexer<'_>) {
        if matches!(self.frame().kind, FrameKind::Special) {
            return;
        }
        let next = lexer.peek();
        if [&b"update"[..], b"share", b"no", b"key"].iter().any(|word| self.is(next, word)) {
            self.judge.worsen(Class::Writes, Why::LockingClause);
        } else {
            self.doubt(Why::Unsure);
        }
    }

    /// WITH TIME ZONE, WITH ORDINALITY and WITH TIES are harmless; WITH queries need the grammar.
    fn with(&mut self, lexer: &Lexer<'_>) {
        let next = lexer.peek();
        if ![&b"time"[..], b"ordinality", b"ties"].iter().any(|word| self.is(next, word)) {
            self.doubt(Why::Unsure);
        }
    }
}
