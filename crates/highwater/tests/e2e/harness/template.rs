//! The data directory every test server is copied from: made once per major and kept between runs.
//!
//! The roles, database and access rules of all tests are here; tables are the tests' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cluster::{connect_socket, start_server};
use super::process::{POSTGRES_USER, Signal, is_root, run};

/// Raise when anything in this file changes: it is part of the template's name.
const VERSION: u32 = 3;

/// Password of the role `app`, which owns the database `app`.
pub(crate) const APP_PASSWORD: &str = "app secret";
/// Password of the role `other`, for tests with two users.
pub(crate) const OTHER_PASSWORD: &str = "other secret";
/// Password of the role `highwater`, which has `pg_monitor` and nothing else.
pub(crate) const MONITOR_PASSWORD: &str = "monitor secret";

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
wal_level = replica
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
max_connections = 150
shared_buffers = 16MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
max_wal_size = 512MB
wal_keep_size = 64MB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.max = 1000
password_encryption = scram-sha-256
log_line_prefix = '%m [%p] %q%u@%d '
logging_collector = off
max_prepared_transactions = 5
jit = off
";

/// Tells by its port which node runs a statement. STABLE, as any function that only reads a setting may be, so it may
/// run on a replica.
const SERVED_BY: &str = "CREATE FUNCTION served_by() RETURNS int STABLE LANGUAGE plpgsql AS
    $$ BEGIN RETURN current_setting('port'); END $$";

const ACCESS: &str = "
local all all trust
local replication all trust
host replication postgres 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 trust
host all app_trust 127.0.0.1/32 trust
host all app_md5 127.0.0.1/32 md5
host all app_clear 127.0.0.1/32 password
host all all 127.0.0.1/32 scram-sha-256
";

/// The programs of one PostgreSQL major.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) major: u32,
    pub(crate) bin: PathBuf,
}

impl Installation {
    /// The one the suite runs on: `HIGHWATER_TEST_PG_BIN`, or the newest of the distribution's packages.
    pub(crate) fn default() -> Self {
        if let Some(bin) = std::env::var_os("HIGHWATER_TEST_PG_BIN") {
            return Installation::at(PathBuf::from(bin))
                .expect("HIGHWATER_TEST_PG_BIN holds initdb and postgres");
        }
        let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let found = packaged.filter_map(|entry| Installation::at(entry.path().join("bin")));
        found.max_by_key(|one| one.major).expect("PostgreSQL is not installed: apt-get install postgresql")
    }

    /// Where `scripts/fetch-postgres` puts them.
    pub(crate) fn fetched_into() -> PathBuf {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory holds tmp");
        std::env::var_os("HIGHWATER_POSTGRES_DIR").map_or_else(|| target.join("postgres"), PathBuf::from)
    }

    /// Those that `scripts/fetch-postgres` has fetched, oldest first.
    pub(crate) fn fetched() -> Vec<Self> {
        let entries = fs::read_dir(Installation::fetched_into()).into_iter().flatten().flatten();
        let mut found: Vec<_> =
            entries.filter_map(|entry| Installation::at(entry.path().join("bin"))).collect();
        found.sort_by_key(|one| one.major);
        found
    }

    fn at(bin: PathBuf) -> Option<Self> {
        let said = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8(said.stdout).ok()?;
        let major = text.split_whitespace().nth(2)?.split('.').next()?.parse().ok()?;
        bin.join("initdb").exists().then_some(Installation { major, bin })
    }
}

/// Where the servers live: memory, where there is plenty of it, else the temporary directory. `TMPDIR` decides if it
/// is set.
pub(crate) fn base() -> PathBuf {
    const ENOUGH: u64 = 8 << 30;
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if std::env::var_os("TMPDIR").is_none() && room > ENOUGH {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// The template of this major; makes it when it is not there yet.
pub(crate) async fn template(installation: &Installation) -> PathBuf {
    let name = format!("highwater-e2e-template-{}-{VERSION}", installation.major);
    let home = base().join(format!("{name}-{}", rustix::process::getuid().as_raw()));
    let lock = fs::File::create(home.with_extension("lock")).expect("the temporary directory can be written");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("files can be locked");
    let ready = home.join("ready");
    if !ready.exists() {
        fs::remove_dir_all(&home).ok();
        fs::create_dir_all(&home).expect("the temporary directory can be written");
        make(installation, &home).await;
        fs::write(&ready, "").expect("the temporary directory can be written");
    }
    home.join("data")
}

async fn make(installation: &Installation, home: &Path) {
    own(home);
    let data = home.join("data");
    let mut initdb = as_postgres(&installation.bin.join("initdb"));
    initdb.args([
        "--no-sync",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--pgdata",
    ]);
    run(initdb.arg(&data));
    let settings = fs::read_to_string(data.join("postgresql.conf")).expect("initdb has made it");
    fs::write(data.join("postgresql.conf"), settings + SETTINGS).expect("the template can be written");
    fs::write(data.join("pg_hba.conf"), ACCESS).expect("the template can be written");

    let mut postmaster =
        start_server(installation, &data, home, 5432, &[]).await.expect("the template starts");
    let client = connect_socket(home, 5432, "postgres").await;
    for statement in roles() {
        client.batch_execute(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
    drop(client);
    let app = connect_socket(home, 5432, "app").await;
    app.batch_execute("CREATE EXTENSION pg_stat_statements; ALTER SCHEMA public OWNER TO app").await.unwrap();
    app.batch_execute(SERVED_BY).await.unwrap();
    // Nobody needs them, and without them there is half as much to copy for each server.
    for template in ["template0", "template1"] {
        let statement = format!("ALTER DATABASE {template} IS_TEMPLATE false");
        app.batch_execute(&statement).await.unwrap();
        app.batch_execute(&format!("DROP DATABASE {template}")).await.unwrap();
    }
    drop(app);
    postmaster.end(Signal::INT, Duration::from_secs(60));
}

fn roles() -> Vec<String> {
    let mut statements = vec![
        format!("CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}'"),
        format!("CREATE ROLE other LOGIN PASSWORD '{OTHER_PASSWORD}' IN ROLE app"),
        format!("CREATE ROLE highwater LOGIN PASSWORD '{MONITOR_PASSWORD}' IN ROLE pg_monitor"),
        format!("CREATE ROLE app_trust LOGIN PASSWORD '{APP_PASSWORD}' IN ROLE app"),
        format!("CREATE ROLE app_clear LOGIN PASSWORD '{APP_PASSWORD}' IN ROLE app"),
    ];
    statements.push("SET password_encryption = 'md5'".to_owned());
    statements.push(format!("CREATE ROLE app_md5 LOGIN PASSWORD '{APP_PASSWORD}' IN ROLE app"));
    statements.push("CREATE DATABASE app OWNER app".to_owned());
    statements
}

/// A command that runs as the unprivileged user when we are root.
pub(crate) fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={POSTGRES_USER}"), &format!("--regid={POSTGRES_USER}")]);
    command.args(["--init-groups", "--"]).arg(program);
    command
}

/// Gives a directory to the user that runs PostgreSQL.
pub(crate) fn own(directory: &Path) {
    if is_root() {
        run(Command::new("chown").arg("-R").arg(POSTGRES_USER).arg(directory));
    }
}
