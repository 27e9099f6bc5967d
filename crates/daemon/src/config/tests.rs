//! Whole configurations: what is understood, what is refused, where, and with which hint.

use std::time::Duration;

use engine::freshness::Level;
use engine::pool::PoolMode;
use proptest::prelude::*;
use wire::auth::Secret;

use super::keys::{KEYS, Kind, Section};
use super::*;

const SMALL: &str = r#"
listen = "127.0.0.1:6432"
[[cluster]]
name = "main"
nodes = ["10.0.0.1:5432", { name = "b", host = "10.0.0.2" }]
monitor = { user = "highwater", password = "m" }
[[database]]
name = "app"
pool_size = 5
[[user]]
name = "u"
password = "p"
[reads]
consistency = "bounded"
max_staleness = "2s"
"#;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_str(text: &str, pairs: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    load_text("t.toml", text, env(pairs), &Overrides::default())
}

fn shown(settings: &Settings, key: &str) -> String {
    settings.shown.iter().find(|setting| setting.key == key).expect("it is shown").value.clone()
}

#[test]
fn there_are_as_many_workers_as_said_or_else_one_for_each_core_up_to_four() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unasked = load_str(SMALL, &[]).unwrap();
    assert_eq!(usize::from(unasked.workers), cores.min(4));
    let asked = load_str(&format!("workers = 7\n{SMALL}"), &[]).unwrap();
    assert_eq!(asked.workers, 7);
    let overruled = load_str(&format!("workers = 7\n{SMALL}"), &[("HIGHWATER_WORKERS", "64")]).unwrap();
    assert_eq!(overruled.workers, 64);
    for settings in [unasked, asked, overruled] {
        assert_eq!(shown(&settings, "workers"), settings.workers.to_string());
    }
}

/// Every line must be among the mistakes, and there must be no others.
fn check_mistakes(text: &str, pairs: &[(&str, &str)], expected: &[&str]) {
    let mistakes = load_str(text, pairs).expect_err(text).to_string();
    let lines: Vec<&str> = mistakes.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{mistakes}\nfor\n{text}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line:?} lacks {expected:?}");
    }
}

#[test]
fn the_smallest_useful_file_means_what_it_says() {
    let settings = load_str(SMALL, &[]).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:6432".parse().unwrap()]);
    assert_eq!(settings.http, Some("127.0.0.1:6433".parse().unwrap()));
    let nodes: Vec<_> = settings.clusters[0].nodes.iter().map(|n| (n.name.as_str(), n.port)).collect();
    assert_eq!(nodes, [("10.0.0.1:5432", 5432), ("b", 5432)]);
    assert_eq!(settings.clusters[0].monitor.password, Some(Secret::new("m")));
    assert_eq!(settings.clusters[0].monitor.database, "postgres");
    let app = &settings.databases[0];
    assert_eq!(app.name, DatabaseName::Named("app".into()));
    assert_eq!((app.pool.size, app.pool.mode), (5, PoolMode::Transaction));
    assert_eq!(app.pool.wait_max, Duration::from_secs(120));
    assert_eq!((app.reads.level, app.reads.max_staleness), (Level::Bounded, Duration::from_secs(2)));
    assert_eq!(app.limits.message_bytes_max, 256 << 20);
    assert_eq!(settings.auth.users[0].secret, Some(UserSecret::Plain(Secret::new("p"))));
    assert_eq!(settings.suffixes, Suffixes { read_only: "_ro".into(), primary: "_rw".into() });
    assert_eq!(settings.connect.methods, [ServerMethod::Scram, ServerMethod::Trust]);
    assert_eq!(settings.door.clients_max, 1000);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place_and_the_nearest_name() {
    let text = "lisen = \"x\"\n[[cluster]]\nname = \"main\"\nnodes = [\"a:0\", 3]\n[pool]\npool_mode = \"statement\"\n\
                default_pool_size = 0\n  query_wait_timeot = 3\nconsistency = \"session\"\n[reads]\nmax_staleness = \"10 sec\"\n\
                consistency = \"strnog\"\n[[user]]\nname = \"u\"\n";
    check_mistakes(
        text,
        &[],
        &[
            "t.toml:1:1: \"lisen\" is not a key of top of the file; did you mean \"listen\"?",
            "t.toml:4:10: nodes: \"a:0\" is not \"host:port\"",
            "t.toml:4:17: nodes: expected \"host:port\" or a table, found a whole number",
            "t.toml:6:13: pool_mode: statement pooling isn't there yet",
            "t.toml:7:21: default_pool_size: \"0\" is not a whole number from 1",
            "t.toml:8:3: \"query_wait_timeot\" is not a key of [pool]; did you mean \"query_wait_timeout\"?",
            "t.toml:9:1: \"consistency\" is not a key of [pool]; it belongs to [reads]",
            "t.toml:11:17: max_staleness: \"10 sec\" is not a duration",
            "t.toml:12:15: consistency: \"strnog\" is not one of",
            "t.toml:13:1: [[user]]: a password or verifier is missing",
        ],
    );
}

#[test]
fn nodes_may_be_discovered_in_several_ways_each_with_its_own_pace() {
    let check = |discover: &str, source: SourceSettings, every: u64, leave_after: u64| {
        let text =
            SMALL.replace("nodes = [\"10.0.0.1:5432\", { name = \"b\", host = \"10.0.0.2\" }]", discover);
        let settings = load_str(&text, &[]).unwrap();
        assert!(settings.clusters[0].nodes.is_empty());
        let found = settings.clusters[0].discover.clone().unwrap();
        let ms = Duration::from_millis;
        assert_eq!(
            found,
            DiscoverSettings { source, every: ms(every), leave_after: ms(leave_after) },
            "{discover}"
        );
    };
    check("discover = { file = \"nodes.txt\" }", SourceSettings::File("nodes.txt".into()), 1000, 0);
    let command =
        SourceSettings::Command { program: "a".into(), arguments: vec!["b, c".into(), String::new()] };
    check("discover = { command = [\"a\", \"b, c\", \"\"], every = \"2s\" }", command, 2000, 30_000);
    let dns = SourceSettings::Dns { name: "db.internal".into(), port: 5433 };
    check("discover = { dns = \"db.internal:5433\", leave_after = 7 }", dns, 5000, 7000);
    let patroni = SourceSettings::Patroni(vec![("10.0.0.1".into(), 8008), ("::1".into(), 8009)]);
    check("discover = { patroni = [\"http://10.0.0.1\", \"http://[::1]:8009/\"] }", patroni, 1000, 10_000);
}

#[test]
fn the_nodes_of_a_cluster_on_aurora_are_asked_and_are_no_nodes() {
    let discover = "discover = { aurora = \"{server_id}.abc.rds.amazonaws.com:5433\" }\n";
    let text = SMALL.replace("nodes = [", &format!("{discover}nodes = ["));
    let cluster = load_str(&text, &[]).unwrap().clusters.remove(0);
    assert!(cluster.nodes.is_empty() && cluster.is_elected());
    let DiscoverSettings { source: SourceSettings::Aurora { template, seeds }, every, leave_after } =
        cluster.discover.unwrap()
    else {
        panic!("it asks Aurora");
    };
    assert_eq!(template, "{server_id}.abc.rds.amazonaws.com:5433");
    assert_eq!(seeds.iter().map(|seed| seed.host.as_str()).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!((every, leave_after), (Duration::from_secs(1), Duration::from_secs(10)));
}

#[test]
fn mistakes_of_discovery_have_their_places_and_the_nearest_names() {
    let with = |discover: &str| {
        format!(
            "[[cluster]]\nname = \"main\"\ndiscover = {{ {discover} }}\n[[user]]\nname = \"u\"\npassword = \"p\"\n"
        )
    };
    check_mistakes(
        &with(""),
        &[],
        &["t.toml:3:12: discover: one of file, command, dns, patroni, aurora is needed"],
    );
    check_mistakes(
        &with("file = \"a\", dns = \"b\""),
        &[],
        &["t.toml:3:32: discover: file and dns are given, and only one may be"],
    );
    check_mistakes(&with("flie = \"a\""), &[], &["one of file", "did you mean \"file\"?"]);
    check_mistakes(
        &with("patroni = [\"https://10.0.0.1:8008\"], every = \"1ms\""),
        &[],
        &[
            "t.toml:3:24: patroni: \"https://10.0.0.1:8008\": https isn't there yet",
            "t.toml:3:59: every: at least 100ms",
        ],
    );
    check_mistakes(&with("patroni = [\"10.0.0.1\"]"), &[], &["is not \"http://host:port\""]);
    check_mistakes(&with("patroni = []"), &[], &["patroni names no member"]);
    for template in ["db.rds.amazonaws.com", "{server_id} x", "{server_id}:port", ""] {
        let mistake = format!(
            "t.toml:3:23: aurora: {template:?} is not \"host\" or \"host:port\" with {{server_id}} in it"
        );
        check_mistakes(&with(&format!("aurora = \"{template}\"")), &[], &[&mistake]);
    }
    check_mistakes(
        &with("aurora = \"{server_id}.db\""),
        &[],
        &["t.toml:3:12: discover: aurora: nodes is missing or empty"],
    );
    check_mistakes(&with("command = []"), &[], &["command names no program"]);
    check_mistakes(&with("command = \"ls\""), &[], &["is not a list of strings"]);
    check_mistakes(&with("dns = \"a b\""), &[], &["dns: \"a b\" is not \"name\""]);
    check_mistakes(&with("file = \"a\", every = \"1ms\""), &[], &["every: at least 100ms"]);
    check_mistakes(
        "[[cluster]]\nname = \"main\"\n",
        &[],
        &["nodes is missing or empty, and there is no discover"],
    );
}

#[test]
fn errors_of_syntax_are_told_with_their_places_and_alone() {
    check_mistakes("listen = \n[[cluster]\n", &[], &["t.toml:1:", "t.toml:2:"]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let with = |more: &str| format!("{SMALL}{more}");
    check_mistakes("", &[], &["no nodes"]);
    check_mistakes(&with("[suffixes]\nprimary = \"_ro\"\n"), &[], &["must differ"]);
    check_mistakes(
        &with("[[database]]\nname = \"app\"\ncluster = \"mian\"\n"),
        &[],
        &["two databases", "did you mean \"main\""],
    );
    check_mistakes(&with("[[database]]\nname = \"pgbouncer\"\n"), &[], &["admin console"]);
    check_mistakes(&with("[[database]]\nname = \"*\"\nserver_name = \"x\"\n"), &[], &["one server_name"]);
    check_mistakes(
        &with("[[database]]\nname = \"b\"\npool_size = 2\nmin_pool_size = 3\n"),
        &[],
        &["more than the pool's size 2"],
    );
    check_mistakes(&with("[admin]\nusers = [\"v\"]\n"), &[], &["no user \"v\""]);
    check_mistakes(
        &with("[[user]]\nname = \"w\"\npassword = \"x\"\npassword_env = \"Y\"\n"),
        &[],
        &["both given"],
    );
    check_mistakes(
        &with("[[user]]\nname = \"w\"\nverifier = \"SCRAM-SHA-256$x\"\n"),
        &[],
        &["not a SCRAM verifier"],
    );
    check_mistakes(
        &with("[[cluster]]\nname = \"main\"\nnodes = [\"10.0.0.1\"]\n"),
        &[],
        &["two clusters", "named twice", "cluster is missing"],
    );
    check_mistakes(&with("[pool]\nclient_login_timeout = 0\n"), &[], &["a login must have a limit"]);
    check_mistakes(&with("[cluster2]\n"), &[], &["did you mean \"cluster\""]);
}

#[test]
fn trust_outside_loopback_must_be_asked_for_twice() {
    let text = |listen: &str, more: &str| {
        format!(
            "listen = \"{listen}\"\nauth_type = \"trust\"\n{more}\n[[cluster]]\nname = \"m\"\nnodes = [\"a\"]\n"
        )
    };
    assert!(load_str(&text("127.0.0.1:1", ""), &[]).is_ok());
    assert!(load_str(&text("[::1]:1", ""), &[]).is_ok());
    check_mistakes(&text("*:1", ""), &[], &["lets everybody in"]);
    check_mistakes(&text("10.0.0.1:1", ""), &[], &["lets everybody in"]);
    assert!(load_str(&text("*:1", "allow_insecure_trust = true"), &[]).is_ok());
    check_mistakes(
        &text("127.0.0.1:1", "").replace("trust", "md5"),
        &[],
        &["clients can't log in with \"md5\""],
    );
}

#[test]
fn the_environment_overrules_the_file_and_flags_the_environment() {
    let pairs = [
        ("HIGHWATER_LISTEN", "127.0.0.1:1,127.0.0.1:2"),
        ("HIGHWATER_HTTP", "off"),
        ("HIGHWATER_READS__MAX_STALENESS", "3s"),
        ("HIGHWATER_POOL__DEFAULT_POOL_SIZE", "7"),
        ("HIGHWATER_MONITOR__PASSWORD", "n"),
        ("HIGHWATER_SERVICE_HOST", "10.1.2.3"),
        ("PATH", "/bin"),
    ];
    let settings = load_str(SMALL, &pairs).unwrap();
    assert_eq!(settings.listen.len(), 2);
    assert_eq!(settings.http, None);
    assert_eq!(settings.databases[0].reads.max_staleness, Duration::from_secs(3));
    assert_eq!(settings.databases[0].pool.size, 5, "the database's own key is nearer than [pool]");
    assert_eq!(settings.clusters[0].monitor.password, Some(Secret::new("n")));
    let overrides = Overrides { listen: Some("127.0.0.1:9".into()), ..Overrides::default() };
    let settings = load_text("t.toml", SMALL, env(&pairs), &overrides).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:9".parse().unwrap()]);
}

#[test]
fn a_bad_or_misspelt_variable_is_a_mistake() {
    check_mistakes(
        SMALL,
        &[
            ("HIGHWATER_HTPP", "x"),
            ("HIGHWATER_READS__MAX_STALENES", "1s"),
            ("HIGHWATER_READS__X", "1s"),
            ("HIGHWATER_POOL__POOL_MODE", "sesion"),
        ],
        &["HIGHWATER_HTTP?", "\"session\"?", "HIGHWATER_READS__MAX_STALENESS?", "no such setting"],
    );
}

#[test]
fn connection_strings_alone_are_a_configuration() {
    let overrides = Overrides {
        primary: Some("postgres://app:secret@a:5433/shop".into()),
        replicas: vec!["postgres://app:secret@b".into(), "host=c port=5434".into()],
        ..Overrides::default()
    };
    let settings = load(None, env(&[("HIGHWATER_PRIMARY", "host=elsewhere")]), &overrides).unwrap();
    let cluster = &settings.clusters[0];
    let nodes: Vec<_> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!((cluster.name.as_str(), nodes), ("main", vec!["a:5433", "b:5432", "c:5434"]));
    assert_eq!((cluster.monitor.user.as_str(), cluster.monitor.database.as_str()), ("app", "shop"));
    assert_eq!(settings.auth.users.len(), 1);
    assert_eq!(settings.databases[0].name, DatabaseName::Any);
    let pairs = [("HIGHWATER_PRIMARY", "host=a user=x"), ("HIGHWATER_REPLICA", "host=b,host=c")];
    let mistakes = load(None, env(&pairs), &Overrides::default()).unwrap_err().to_string();
    assert!(mistakes.contains("no password"), "{mistakes}");
    let trust = [&pairs[..], &[("HIGHWATER_AUTH_TYPE", "trust")]].concat();
    assert_eq!(load(None, env(&trust), &Overrides::default()).unwrap().clusters[0].nodes.len(), 3);
}

#[test]
fn a_readable_file_with_a_secret_is_refused_unless_allowed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("highwater.toml");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::write(&path, SMALL).unwrap();
    mode(0o644);
    let mistakes = load(Some(&path), env(&[]), &Overrides::default()).unwrap_err().to_string();
    assert!(mistakes.contains("chmod 0640"), "{mistakes}");
    mode(0o640);
    load(Some(&path), env(&[]), &Overrides::default()).unwrap();
    std::fs::write(&path, format!("allow_open_secrets = true\n{SMALL}")).unwrap();
    mode(0o644);
    load(Some(&path), env(&[]), &Overrides::default()).unwrap();
    let missing = load(Some(&dir.path().join("no.toml")), env(&[]), &Overrides::default()).unwrap_err();
    assert!(missing.to_string().contains("can't be read"), "{missing}");
}

#[test]
fn no_secret_is_printed_with_the_settings() {
    let text = SMALL.replace("\"p\"", "\"hunter2\"").replace("\"m\"", "\"hunter2\"");
    let settings = load_str(&text, &[]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let broken = format!("{text}[[user]]\npassword = \"hunter2\"\nverifier = \"hunter2\"\n");
    assert!(!load_str(&broken, &[]).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn every_default_is_of_its_type_and_every_key_has_a_meaning() {
    for key in KEYS {
        assert!(!key.doc.is_empty() && key.doc.ends_with('.'), "{}", key.name);
        if !key.default.is_empty() {
            value::from_text(key.kind, key.default).unwrap_or_else(|e| panic!("{}: {}", key.name, e.message));
        }
        if let Kind::One(section) | Kind::Many(section) = key.kind {
            assert!(section.keys().next().is_some());
        }
    }
    assert!(Section::ALL.iter().all(|section| section.keys().next().is_some()));
}

#[test]
fn the_reference_page_and_the_schema_are_in_step_with_the_table() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, text) in [("config.md", reference()), ("config.schema.json", json_schema() + "\n")] {
        let path = docs.join(name);
        if update_asked() {
            std::fs::create_dir_all(&docs).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == text,
            "{} is out of step: UPDATE_DOCS=1 cargo test -p daemon config",
            path.display()
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting")]
fn update_asked() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", value in ".{0,40}") {
        let _ = load_str(&text, &[("HIGHWATER_LISTEN", &value), ("HIGHWATER_PRIMARY", &value)]);
        let _ = load_str(&format!("{SMALL}\n{text}"), &[]);
    }

    #[test]
    fn no_value_of_any_key_makes_it_panic(at in 0..KEYS.len(), value in prop_oneof![
        ".{0,20}".prop_map(|text| format!("{text:?}")),
        "-?[0-9]{1,25}(\\.[0-9]{1,5})?",
        Just("[]".to_owned()), Just("{}".to_owned()), Just("[[1]]".to_owned()), Just("true".to_owned()),
        Just("1979-05-27".to_owned()), Just("\"0\"".to_owned()), Just("inf".to_owned()), Just("0x7f".to_owned()),
    ]) {
        let key = &KEYS[at];
        // A command or a file named by chance is not to be run or read.
        prop_assume!(!matches!(key.name, "password_command" | "password_file" | "auth_file"));
        let head = match key.section {
            Section::Top | Section::Node | Section::Monitor => String::new(),
            section => format!("{SMALL}\n{}\n", section.title()),
        };
        let _ = load_str(&format!("{head}{} = {value}\n", key.name), &[]);
    }
}
