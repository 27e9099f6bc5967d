//! Holds the classifier to PostgreSQL's grammar: when the real tree of a text can write, neither tier may say that it
//! reads; and what the tree leaves in the session must be among the effects.
//!
//! The judge here shares nothing with the classifier but the list of PostgreSQL's function names. It does not walk the
//! tree as `sql::grammar` does: it reads the tree's printed form, in which every field of every node appears.
//!
//! By its first byte an input is the choices of a generator of statements (below 0x10), two statements of
//! `crates/sql/testdata` spliced (below 0x20), or a text.

#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sql::{Arity, Catalogue, Class, Effects, Environment, Persistence, RelationKind, SearchPath, Volatility};

mod generator;
mod printed;
mod splice;

use printed::{Token, tokens};

/// Functions of the database that write, some with names that are words of SQL.
const WRITERS: [&str; 12] = [
    "touch",
    "left",
    "like",
    "substring",
    "varying",
    "join",
    "json_scalar",
    "data",
    "overlay",
    "is",
    "system_user",
    "rows",
];
/// PostgreSQL's own that write.
const OWN_WRITERS: [&str; 8] = [
    "nextval",
    "setval",
    "set_config",
    "pg_notify",
    "txid_current",
    "pg_advisory_lock",
    "pg_advisory_xact_lock",
    "lo_create",
];
const PLAIN: [&str; 4] = ["t", "u", "v", "data"];

struct World {
    catalogue: Catalogue,
    path: SearchPath,
    known: BTreeSet<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut builder = Catalogue::builder();
    for name in WRITERS {
        builder.function("public", name, Arity { min: 0, max: None }, Volatility::Volatile);
    }
    for name in PLAIN {
        builder.relation("public", name, RelationKind::Plain, Persistence::Permanent);
    }
    builder.relation("public", "cache", RelationKind::Plain, Persistence::Unlogged);
    builder.relation("public", "remote", RelationKind::Foreign, Persistence::Permanent);
    builder.relation("public", "seqview", RelationKind::View, Persistence::Permanent);
    builder.view("public", "seqview", "SELECT nextval('s')");
    builder.operator("public", "=#", Volatility::Volatile);
    builder.r#type("public", "posint", Volatility::Volatile);
    // `("name", 1, 2, V), …`
    let table = include_str!("../../../crates/sql/src/catalogue/builtin.rs");
    let known =
        table.split("(\"").skip(1).filter_map(|row| row.split('"').next()).map(str::to_owned).collect();
    World { catalogue: builder.finish(1), path: SearchPath::parse("public", "app"), known }
});

fuzz_target!(|data: &[u8]| {
    let made;
    let text = match data.split_first() {
        Some((0..0x10, choices)) => {
            made = generator::text(choices);
            made.as_str()
        }
        Some((0x10..0x20, choices)) => {
            made = splice::text(choices);
            made.as_str()
        }
        _ => match std::str::from_utf8(data) {
            Ok(text) => text,
            Err(_) => return check_unread(data),
        },
    };
    check(text);
});

fn environment(world: &World) -> Environment<'_> {
    Environment { catalogue: &world.catalogue, search_path: &world.path, standard_conforming_strings: true }
}

/// What is no text never reads.
fn check_unread(data: &[u8]) {
    assert_ne!(sql::classify(data, &environment(&WORLD)).class, Class::Reads);
}

fn check(text: &str) {
    let env = environment(&WORLD);
    let full = sql::classify(text.as_bytes(), &env);
    let lexer = sql::classify_lexer_only(text.as_bytes(), &env);
    assert!(lexer.class != Class::Reads || full.class == Class::Reads, "the tiers differ: {text}");
    let Ok(tree) = pg_raw_parse::parse(text) else { return };
    let mut statements = 0;
    let mut facts = Facts::default();
    for statement in tree.stmts() {
        statements += 1;
        facts.read(&tokens(&format!("{statement:?}")));
    }
    if let Some(reason) = &facts.writes {
        assert_ne!(lexer.class, Class::Reads, "lexer: {reason}: {text}");
        assert_ne!(full.class, Class::Reads, "both: {reason}: {text}");
    }
    if text.len() <= sql::TEXT_BYTES_MAX && !text.contains('\0') {
        assert_eq!(full.statements, statements, "number of statements: {text}");
        assert_eq!(lexer.statements, statements, "number of statements: {text}");
        assert!(
            full.effects.contains(facts.effects),
            "effects {:?} lack {:?}: {text}",
            full.effects,
            facts.effects
        );
    }
}

/// What the tree says.
#[derive(Default)]
struct Facts {
    writes: Option<String>,
    effects: Effects,
    /// The statement at hand may be a SET that is said as a query.
    sets: bool,
}

/// One call of one function with three constants, and nothing else.
fn is_set_config(kind: &str, tokens: &[Token]) -> bool {
    const OTHERS: [&str; 7] =
        ["RangeVar", "A_Expr", "TypeCast", "ParamRef", "ColumnRef", "SubLink", "CommonTableExpr"];
    let count = |word: &str| {
        let opens = |pair: &&[Token]| pair[0] == Token::Word(word.to_owned()) && pair[1] == Token::Mark('{');
        tokens.windows(2).filter(opens).count()
    };
    let alone = OTHERS.iter().all(|word| count(word) == 0) && count("ResTarget") == 1;
    kind == "SelectStmt" && alone && count("FuncCall") == 1 && count("A_Const") == 3
}

/// Statements that need not write by themselves.
const MAY_READ: [&str; 9] = [
    "SelectStmt",
    "ExplainStmt",
    "CopyStmt",
    "VariableSetStmt",
    "VariableShowStmt",
    "TransactionStmt",
    "DeallocateStmt",
    "DiscardStmt",
    "DeclareCursorStmt",
];

impl Facts {
    fn read(&mut self, tokens: &[Token]) {
        let Some(Token::Word(kind)) = tokens.first() else { return };
        if kind != "PrepareStmt" && !MAY_READ.contains(&kind.as_str()) {
            self.note(format!("a {kind}"));
        }
        self.session(kind, tokens);
        self.sets = is_set_config(kind, tokens);
        let ctes: Vec<&str> = printed::fields(tokens, "ctename").filter_map(printed::first_string).collect();
        for (i, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let rest = &tokens[i + 1..];
            match word.as_str() {
                "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "LockingClause" | "IntoClause" => {
                    self.note(format!("a {word}"));
                }
                "FuncCall" if rest.first() == Some(&Token::Mark('{')) => self.call(rest),
                "RangeVar" if rest.first() == Some(&Token::Mark('{')) => self.relation(rest, &ctes),
                "sval" if printed::name_before(&tokens[..i]).is_none_or(|schema| schema == "public") => {
                    match printed::first_string(rest) {
                        Some("=#") => self.note("a volatile operator".to_owned()),
                        Some("posint") if printed::in_type_name(&tokens[..i]) => {
                            self.note("a volatile type".to_owned());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, reason: String) {
        self.writes.get_or_insert(reason);
    }

    fn call(&mut self, rest: &[Token]) {
        let names = printed::strings_of(rest, "funcname");
        let Some(name) = names.last() else { return };
        let own_schema = names.len() < 2 || names[names.len() - 2] == "pg_catalog";
        if *name == "set_config" && own_schema && self.sets {
            return;
        }
        let public = names.len() < 2 || names[names.len() - 2] == "public";
        if (public && WRITERS.contains(name)) || (own_schema && OWN_WRITERS.contains(name)) {
            self.note(format!("a call of {name}"));
        }
        let known = WRITERS.contains(name) || WORLD.known.contains(*name);
        if !known || !(own_schema || public) {
            self.note(format!("a call of the unknown {name}"));
        }
        match *name {
            "pg_advisory_lock" => self.effects |= Effects::ADVISORY_LOCK,
            "set_config" => self.effects |= Effects::UNTRACKED_STATE,
            _ => {}
        }
    }

    fn relation(&mut self, rest: &[Token], ctes: &[&str]) {
        let mine = printed::until_close(rest);
        let name =
            printed::fields(mine, "relname").next().and_then(printed::first_string).unwrap_or_default();
        let schema = printed::fields(mine, "schemaname").next().and_then(printed::first_string);
        let plain = match schema {
            None => PLAIN.contains(&name) || ctes.contains(&name) || own_relation(name),
            Some("public") => PLAIN.contains(&name),
            Some("pg_catalog") => own_relation(name),
            Some(schema) => schema == "information_schema",
        };
        if !plain {
            self.note(format!("the relation {name}"));
        }
    }

    /// What must be among the effects, and what may not be a read.
    fn session(&mut self, kind: &str, tokens: &[Token]) {
        let number = |field| printed::fields(tokens, field).next().and_then(printed::first_number);
        match kind {
            "TransactionStmt" => self.effects |= Effects::TRANSACTION,
            "PrepareStmt" => self.effects |= Effects::PREPARE,
            "ExecuteStmt" => self.effects |= Effects::EXECUTE,
            "DeallocateStmt" => self.effects |= Effects::DEALLOCATE,
            "DiscardStmt" => self.effects |= Effects::DISCARD,
            "ListenStmt" => self.effects |= Effects::LISTEN,
            "UnlistenStmt" => self.effects |= Effects::UNLISTEN,
            "LoadStmt" => self.effects |= Effects::UNTRACKED_STATE,
            // CURSOR_OPT_HOLD
            "DeclareCursorStmt" if number("options").is_some_and(|options| options & 0x20 != 0) => {
                self.effects |= Effects::HOLD_CURSOR;
            }
            "CopyStmt" => {
                let file =
                    printed::fields(tokens, "filename").next().and_then(printed::first_string).is_some();
                let from = printed::is_true(tokens, "is_from");
                if file || from || printed::is_true(tokens, "is_program") {
                    self.note("a COPY".to_owned());
                } else {
                    self.effects |= Effects::COPY_OUT;
                }
                if from && !file {
                    self.effects |= Effects::COPY_IN;
                }
            }
            "CreateStmt" | "CreateTableAsStmt" | "ViewStmt" | "CreateSeqStmt"
                if printed::fields(tokens, "relpersistence")
                    .filter_map(printed::first_number)
                    .any(|kind| kind == 116) =>
            {
                self.effects |= Effects::TEMP_OBJECT;
            }
            _ => {}
        }
    }
}

/// PostgreSQL's own relations, but for those of one node.
fn own_relation(name: &str) -> bool {
    const LOCAL: [&str; 4] = ["pg_locks", "pg_cursors", "pg_prepared_statements", "pg_replication_slots"];
    let local = name.starts_with("pg_stat_") || name.starts_with("pg_statio_") || LOCAL.contains(&name);
    name.starts_with("pg_") && !local
}
