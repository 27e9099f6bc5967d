//! What a session is told to remember: details and hints, one line of input for each.

use sql::{
    Arity, Catalogue, Detail, Environment, Hints, Isolation, RouteHint, SearchPath, SetValue, Verdict,
    Volatility,
};

fn verdict(text: &str) -> Verdict {
    let catalogue = Catalogue::builtin();
    let search_path = SearchPath::parse("public", "app");
    let env =
        Environment { catalogue: &catalogue, search_path: &search_path, standard_conforming_strings: true };
    sql::classify(text.as_bytes(), &env)
}

#[track_caller]
fn check(text: &str, expected: &[Detail]) {
    assert_eq!(verdict(text).details, expected, "{text}");
}

const fn begin(read_only: Option<bool>, isolation: Option<Isolation>, deferrable: Option<bool>) -> Detail {
    Detail::Begin { read_only, isolation, deferrable }
}

fn set(name: &str, value: Option<&str>, local: bool, text: &str) -> Detail {
    let value = value.map_or(SetValue::Default, |value| SetValue::Text(value.to_owned()));
    Detail::Set { name: name.to_owned(), value, local, text: text.to_owned() }
}

fn own(name: &str, value: Option<&str>, local: bool) -> Detail {
    let value = value.map_or(SetValue::Default, |value| SetValue::Text(value.to_owned()));
    Detail::SetOwn { name: name.to_owned(), value, local }
}

#[test]
fn a_setting_that_is_said_as_a_query_is_followed_in_one_form() {
    let text = "SELECT pg_catalog.set_config('timezone', 'UTC', false)";
    check("select set_config('TimeZone', 'UTC', false)", &[set("timezone", Some("UTC"), false, text)]);
    let text = "SELECT pg_catalog.set_config('a.b', 'it''s', true)";
    check("SELECT set_config('a.b', 'it''s', true);", &[set("a.b", Some("it's"), true, text)]);
    check("SELECT set_config('search_path', 'x', false)", &[]);
    check("COPY (SELECT set_config('a.b', 'c', false)) TO STDOUT", &[]);
}

#[test]
fn only_postgresqls_own_set_config_is_followed() {
    let search_path = SearchPath::unknown();
    for own in [false, true] {
        let mut builder = Catalogue::builder();
        if own {
            builder.function("mine", "set_config", Arity { min: 3, max: Some(3) }, Volatility::Volatile);
        }
        let catalogue = builder.finish(1);
        let env = Environment {
            catalogue: &catalogue,
            search_path: &search_path,
            standard_conforming_strings: true,
        };
        let details = |text: &str| sql::classify(text.as_bytes(), &env).details.len();
        assert_eq!(details("SELECT set_config('a.b', 'c', false)"), usize::from(!own));
        assert_eq!(details("SELECT pg_catalog.set_config('a.b', 'c', false)"), 1);
        assert_eq!(details("SELECT mine.set_config('a.b', 'c', false)"), 0);
    }
}

#[test]
fn transactions_are_followed() {
    check("BEGIN", &[begin(None, None, None)]);
    check("begin work read only", &[begin(Some(true), None, None)]);
    check("START TRANSACTION READ WRITE, READ ONLY", &[begin(Some(true), None, None)]);
    check(
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        &[begin(Some(true), Some(Isolation::Serializable), Some(true))],
    );
    check(
        "BEGIN TRANSACTION ISOLATION LEVEL READ UNCOMMITTED NOT DEFERRABLE",
        &[begin(None, Some(Isolation::ReadUncommitted), Some(false))],
    );
    check("COMMIT AND CHAIN", &[Detail::Commit { chain: true }]);
    check("END AND NO CHAIN", &[Detail::Commit { chain: false }]);
    check(
        "ABORT; ROLLBACK AND CHAIN",
        &[Detail::Rollback { chain: false }, Detail::Rollback { chain: true }],
    );
    check(
        "SAVEPOINT a; ROLLBACK TO a; RELEASE a",
        &[Detail::Savepoint, Detail::RollbackTo, Detail::ReleaseSavepoint],
    );
    check("PREPARE TRANSACTION 'x'", &[Detail::PrepareTransaction]);
    check("COMMIT PREPARED 'x'; ROLLBACK PREPARED 'y'", &[Detail::CommitPrepared, Detail::RollbackPrepared]);
    check(
        "SET TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
        &[Detail::SetTransaction { read_only: Some(true), isolation: Some(Isolation::RepeatableRead) }],
    );
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        &[set(
            "default_transaction_read_only",
            Some("off"),
            false,
            "SET default_transaction_read_only = 'off'",
        )],
    );
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE, DEFERRABLE",
        &[
            set(
                "default_transaction_isolation",
                Some("serializable"),
                false,
                "SET default_transaction_isolation = 'serializable'",
            ),
            set(
                "default_transaction_read_only",
                Some("on"),
                false,
                "SET default_transaction_read_only = 'on'",
            ),
            set(
                "default_transaction_deferrable",
                Some("on"),
                false,
                "SET default_transaction_deferrable = 'on'",
            ),
        ],
    );
}

#[test]
fn whatever_is_not_plainly_on_is_not_read_only() {
    for (value, read_only) in [
        ("on", true),
        ("true", true),
        ("'t'", true),
        ("1", true),
        ("'YES'", true),
        ("off", false),
        ("0", false),
    ] {
        check(
            &format!("SET transaction_read_only = {value}"),
            &[Detail::SetTransaction { read_only: Some(read_only), isolation: None }],
        );
    }
    check(
        "RESET transaction_read_only",
        &[Detail::SetTransaction { read_only: Some(false), isolation: None }],
    );
}

#[test]
fn settings_keep_their_own_text_to_be_repeated() {
    check("SET work_mem TO '64MB' ;", &[set("work_mem", Some("64MB"), false, "SET work_mem TO '64MB'")]);
    check("/* x */ set  Work_Mem = 64 -- y", &[set("work_mem", Some("64"), false, "set  Work_Mem = 64")]);
    check("SET LOCAL a.B = 'it''s'", &[set("a.b", Some("it's"), true, "SET LOCAL a.B = 'it''s'")]);
    check("SET x = -1.5", &[set("x", Some("-1.5"), false, "SET x = -1.5")]);
    check("RESET work_mem", &[set("work_mem", None, false, "RESET work_mem")]);
    check("SET work_mem = DEFAULT", &[set("work_mem", None, false, "SET work_mem = DEFAULT")]);
    check("SET TIME ZONE 'UTC'", &[set("timezone", Some("UTC"), false, "SET TIME ZONE 'UTC'")]);
    check("SET TIME ZONE LOCAL", &[set("timezone", None, false, "SET TIME ZONE LOCAL")]);
    check("SET NAMES 'latin1'", &[set("client_encoding", Some("latin1"), false, "SET NAMES 'latin1'")]);
    check(
        "SET datestyle = ISO, MDY",
        &[set("datestyle", Some("iso, mdy"), false, "SET datestyle = ISO, MDY")],
    );
    check("RESET ALL", &[Detail::ResetAll]);
}

#[test]
fn a_search_path_stays_a_list_of_names() {
    let text = "SET search_path = \"$user\", Public, 'My Schema', \"a\"\"b\"";
    let path = "\"$user\", public, \"My Schema\", \"a\"\"b\"";
    check(text, &[set("search_path", Some(path), false, text)]);
    check("SET SCHEMA 'x'", &[set("search_path", Some("x"), false, "SET SCHEMA 'x'")]);
}

#[test]
fn our_own_settings_are_told_apart() {
    check("SET highwater.route = primary", &[own("route", Some("primary"), false)]);
    check("SET LOCAL Highwater.Max_Staleness TO '1s'", &[own("max_staleness", Some("1s"), true)]);
    check("RESET highwater.key", &[own("key", None, false)]);
    check("SHOW highwater.last_route", &[Detail::ShowOwn { name: "last_route".to_owned() }]);
    check("SHOW work_mem", &[]);
}

#[test]
fn prepared_statements_are_named_as_postgresql_folds_them() {
    let name = || "plan".to_owned();
    check("PREPARE Plan AS SELECT 1", &[Detail::Prepare { name: name() }]);
    check(
        "EXECUTE PLAN(1); DEALLOCATE \"plan\"",
        &[Detail::Execute { name: name() }, Detail::Deallocate { name: name() }],
    );
    check(
        "DEALLOCATE PREPARE ALL; DISCARD ALL; DISCARD PLANS",
        &[Detail::DeallocateAll, Detail::DiscardAll, Detail::DiscardOther],
    );
}

#[test]
fn hints_stand_first_or_last() {
    let route = |route| Some(Hints { route: Some(route), ..Hints::default() });
    assert_eq!(verdict("/* highwater: route=primary */ SELECT 1").hints, route(RouteHint::Primary));
    assert_eq!(verdict("SELECT 1 /* highwater: route=replica */;").hints, route(RouteHint::Replica));
    assert_eq!(verdict("SELECT 1; /*highwater:route=auto*/").hints, route(RouteHint::Auto));
    assert_eq!(verdict("SELECT /* highwater: route=primary */ 1").hints, None);
    assert_eq!(verdict("SELECT '/* highwater: route=primary */'").hints, None);
    assert_eq!(verdict("SELECT 1 /* highwater: route=primary */ + 1").hints, None);
    let both = verdict(
        "/* highwater: max_staleness=1s, key=user:42 */ SELECT 1 /* highwater: key=b, consistency=x */",
    );
    let expected = Hints {
        route: None,
        consistency: Some("x".to_owned()),
        max_staleness: Some("1s".to_owned()),
        key: Some("user:42".to_owned()),
    };
    assert_eq!(both.hints, Some(expected));
}

#[test]
fn a_shape_forgets_values_and_keeps_the_rest() {
    let shape = |text: &str| verdict(text).shape;
    let first = shape("SELECT a FROM t WHERE b = 1 AND c = 'x'");
    assert_eq!(first, shape("select  A from T /* x */ where b=22 and c='yy'"));
    assert_eq!(first, shape("SELECT a FROM t WHERE b = $1 AND c = $2"));
    assert_ne!(first, shape("SELECT a FROM t WHERE b = 1 AND d = 'x'"));
    assert_ne!(first, shape("SELECT \"A\" FROM t WHERE b = 1 AND c = 'x'"));
    assert_eq!(shape("SELECT a FROM t WHERE b IN (1)"), shape("SELECT a FROM t WHERE b IN (1, 2, 3)"));
    assert_ne!(shape("SELECT f(a, b)"), shape("SELECT f(a)"));
}

#[test]
fn only_one_harmless_read_may_run_again() {
    for text in
        ["SELECT 1", "SELECT random(), clock_timestamp()", "SHOW work_mem", "VALUES (1);", "EXPLAIN SELECT 1"]
    {
        assert!(verdict(text).rerunnable, "{text}");
    }
    for text in [
        "SELECT 1; SELECT 2",
        "SELECT nextval('s')",
        "SELECT * FROM t FOR SHARE",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH c",
        "BEGIN",
        "SET a.b = 1",
        "PREPARE p AS SELECT 1",
        "COPY t TO STDOUT",
        "SHOW highwater.token",
    ] {
        assert!(!verdict(text).rerunnable, "{text}");
    }
}

#[test]
fn hostile_texts_get_an_answer_and_never_a_read() {
    assert_eq!(verdict("\u{b}").statements, 0);
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    let long = format!("SELECT '{}'", "x".repeat(sql::TEXT_BYTES_MAX));
    let chain = format!("WITH x AS (SELECT 1) SELECT {}1", "1+".repeat(30_000));
    let unions = format!("WITH x AS (SELECT 1) SELECT 1{}", " UNION SELECT 1".repeat(3000));
    assert_eq!(verdict(&deep).why.name(), "nested_too_deep");
    assert_eq!(verdict(&long).why.name(), "too_long");
    assert_eq!(verdict("SELECT 1\0; DELETE FROM t").why.name(), "several_statements");
    assert_eq!(verdict("SELECT 1 \0").class, sql::Class::Unknown);
    let catalogue = Catalogue::builtin();
    let search_path = SearchPath::unknown();
    let env =
        Environment { catalogue: &catalogue, search_path: &search_path, standard_conforming_strings: true };
    assert_eq!(sql::classify(b"SELECT '\xff'", &env).why.name(), "non_utf8");
    // The grammar's tree is deep here; being walked it must not exhaust the stack.
    for text in [chain, unions] {
        let _ = verdict(&text);
    }
}
