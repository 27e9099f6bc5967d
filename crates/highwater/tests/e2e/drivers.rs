//! Real drivers and frameworks through the router: each program in `tests/drivers` does a small round of everything its
//! driver can. The book's recipes are these programs.
//!
//! The packages are installed on demand under the target directory, at the pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, pin_mut};
use tokio_postgres::error::SqlState;

use crate::harness::process::run;
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Fixture, left_out, shared, wait_for};

#[tokio::test]
async fn psycopg() {
    program(shared().await, &python().join("bin/python"), "python/with_psycopg.py").await;
}

#[tokio::test]
async fn asyncpg() {
    program(shared().await, &python().join("bin/python"), "python/with_asyncpg.py").await;
}

#[tokio::test]
async fn django() {
    for script in ["python/with_django.py", "python/with_django_two.py"] {
        recipe(&python().join("bin/python"), script).await;
    }
}

#[tokio::test]
async fn sqlalchemy() {
    recipe(&python().join("bin/python"), "python/with_sqlalchemy.py").await;
}

/// Only where Active Record is installed: RubyGems is not asked, and Debian's packages are many.
#[tokio::test]
async fn active_record() {
    let mut ruby = Command::new("ruby");
    ruby.args(["-e", "require 'active_record'; require 'pg'"]).stdout(Stdio::null()).stderr(Stdio::null());
    if ruby.status().is_ok_and(|status| status.success()) {
        recipe(Path::new("ruby"), "ruby/with_active_record.rb").await;
    } else {
        left_out("Active Record: it is not installed (apt-get install ruby-activerecord ruby-pg)");
    }
}

#[tokio::test]
async fn node_postgres() {
    program(shared().await, Path::new("node"), node().join("with_pg.js").to_str().unwrap()).await;
}

#[tokio::test]
async fn typeorm() {
    program(shared().await, Path::new("node"), node().join("with_typeorm.js").to_str().unwrap()).await;
}

/// Runs a program that the book shows; it asks where its statements ran, which only the router can answer.
async fn recipe(interpreter: &Path, script: &str) {
    let fixture = shared().await;
    if fixture.router().is_some() {
        program(fixture, interpreter, script).await;
    }
}

/// Runs a driver's program and shows what it said; it must end well and say `done`.
async fn program(fixture: &Fixture, interpreter: &Path, script: &str) {
    let ((ro_port, ro_database), (rw_port, rw_database)) = (fixture.read_only(), fixture.read_write());
    let mut child = Command::new(interpreter);
    child.arg(sources().join(script)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child.envs([("DRIVER_DATABASE", "app"), ("DRIVER_USER", "app"), ("DRIVER_PASSWORD", APP_PASSWORD)]);
    child.envs([("DRIVER_RO_DATABASE", ro_database), ("DRIVER_RW_DATABASE", rw_database)]);
    child.env("DRIVER_PORT", fixture.port().to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    child.env("DRIVER_RO_PORT", ro_port.to_string()).env("DRIVER_RW_PORT", rw_port.to_string());
    for (name, port, database) in [
        ("DATABASE_URL", fixture.port(), "app"),
        ("DATABASE_RO_URL", ro_port, ro_database),
        ("DATABASE_RW_URL", rw_port, rw_database),
    ] {
        let password = APP_PASSWORD.replace(' ', "%20");
        child.env(name, format!("postgresql://app:{password}@127.0.0.1:{port}/{database}"));
    }
    let mut child = child.spawn().unwrap_or_else(|e| panic!("{} cannot be run: {e}", interpreter.display()));
    let mut status = None;
    let what = format!("{script} to end");
    let ended = wait_for(&what, Duration::from_secs(180), async || {
        status = child.try_wait().expect("the program is ours to wait for");
        status.is_some()
    });
    if tokio::time::timeout(Duration::from_secs(170), ended).await.is_err() {
        child.kill().ok();
    }
    let output = child.wait_with_output().expect("its output can be read");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{script}:\n{said}");
    assert!(output.status.success() && said.contains("done"), "{script} failed ({}):\n{said}", output.status);
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

/// A virtual environment with the pinned packages.
fn python() -> PathBuf {
    let requirements = sources().join("python/requirements.txt");
    installed("python", &[&requirements], |home| {
        let python = std::env::var("HIGHWATER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        present(&python, "apt-get install python3-venv python3-pip");
        run(Command::new(python).args(["-m", "venv"]).arg(home));
        run(Command::new(home.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "-r"])
            .arg(&requirements));
    })
}

/// A directory with the programs and their pinned packages, since Node looks for packages beside the program.
fn node() -> PathBuf {
    let manifest = [&sources().join("node/package.json"), &sources().join("node/package-lock.json")];
    let home = installed("node", &manifest, |home| {
        present("node", "apt-get install nodejs");
        present("npm", "apt-get install npm");
        for file in manifest {
            fs::copy(file, home.join(file.file_name().unwrap())).expect("the manifest can be copied");
        }
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(home));
    });
    for program in ["environment.js", "with_pg.js", "with_typeorm.js"] {
        // Into place at once, since another test may be starting the same program.
        let copy = home.join(format!("{program}.{:?}", std::thread::current().id()));
        fs::copy(sources().join("node").join(program), &copy).expect("the program can be copied");
        fs::rename(copy, home.join(program)).expect("the program can be copied");
    }
    home
}

/// `target/drivers/<name>`, filled by `install` when it is not there or the manifests have changed.
fn installed(name: &str, manifests: &[&PathBuf], install: impl FnOnce(&Path)) -> PathBuf {
    let drivers = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory holds tmp")
        .join("drivers");
    fs::create_dir_all(&drivers).expect("the target directory can be written");
    let lock =
        fs::File::create(drivers.join(format!("{name}.lock"))).expect("the target directory can be written");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("files can be locked");
    let wanted: String =
        manifests.iter().map(|path| fs::read_to_string(path).expect("the manifest is there")).collect();
    let (home, stamp) = (drivers.join(name), drivers.join(format!("{name}.stamp")));
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        fs::remove_dir_all(&home).ok();
        fs::create_dir_all(&home).expect("the target directory can be written");
        install(&home);
        fs::write(stamp, wanted).expect("the target directory can be written");
    }
    home
}

fn present(tool: &str, how: &str) {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{tool} is needed for the driver tests and is not installed: {how}");
}

#[tokio::test]
async fn tokio_postgres_crud_and_concurrent_queries() {
    let client = shared().await.connect().await;
    client
        .batch_execute(
            "DROP TABLE IF EXISTS rust_items; CREATE TABLE rust_items (id int PRIMARY KEY, name text)",
        )
        .await
        .unwrap();
    let insert = client.prepare("INSERT INTO rust_items VALUES ($1, $2)").await.unwrap();
    let select = client.prepare("SELECT name FROM rust_items WHERE id = $1").await.unwrap();
    for id in 0..30_i32 {
        let name = format!("item {id}");
        assert_eq!(client.execute(&insert, &[&id, &name]).await.unwrap(), 1);
        assert_eq!(client.query_one(&select, &[&id]).await.unwrap().get::<_, String>(0), name);
    }
    // Futures that are polled together are sent together: a pipeline.
    let reads = futures_util::future::join_all((0..30_i32).map(|id| {
        let (client, select) = (&client, &select);
        async move { client.query_one(select, &[&id]).await.unwrap().get::<_, String>(0) }
    }));
    assert_eq!(reads.await, (0..30).map(|id| format!("item {id}")).collect::<Vec<_>>());
    let (one, bad, three) = futures_util::future::join3(
        client.query("SELECT 1", &[]),
        client.query("SELECT no_such_column", &[]),
        client.query("SELECT 3", &[]),
    )
    .await;
    assert!(one.is_ok() && three.is_ok(), "{one:?} {three:?}");
    assert_eq!(bad.unwrap_err().code(), Some(&SqlState::UNDEFINED_COLUMN));
}

#[tokio::test]
async fn tokio_postgres_transactions_copy_and_cancel() {
    let fixture = shared().await;
    let mut client = fixture.connect().await;
    client
        .batch_execute("DROP TABLE IF EXISTS rust_words; CREATE TABLE rust_words (word text UNIQUE)")
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO rust_words VALUES ('kept')", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO rust_words VALUES ('undone')", &[]).await.unwrap();
    drop(transaction);
    let read_only = client.build_transaction().read_only(true).start().await.unwrap();
    let portal = read_only.bind("SELECT n FROM generate_series(1, 10) n", &[]).await.unwrap();
    assert_eq!(read_only.query_portal(&portal, 4).await.unwrap().len(), 4);
    assert_eq!(read_only.query_portal(&portal, 0).await.unwrap().len(), 6);
    read_only.commit().await.unwrap();

    let sink = client.copy_in("COPY rust_words FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"copied\nin\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    let stream = client.copy_out("COPY (SELECT word FROM rust_words ORDER BY word) TO STDOUT").await.unwrap();
    let out: Vec<_> = stream.map_ok(|chunk| chunk.to_vec()).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(String::from_utf8(out.concat()).unwrap(), "copied\nin\nkept\n");

    let cancel = client.cancel_token();
    let sleep = client.batch_execute("SELECT pg_sleep(60)");
    // Repeated, because a request that comes before the query is there has no effect.
    let cancel_until_it_ends = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        }
    };
    let slept = tokio::select! {
        slept = sleep => slept,
        () = cancel_until_it_ends => unreachable!("it never ends"),
    };
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));

    let rows = client
        .query_raw("SELECT n, repeat('x', 100) FROM generate_series(1, 100000) n", Vec::<i32>::new())
        .await;
    let rows = rows.unwrap();
    pin_mut!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        count += i32::from(row.unwrap().get::<_, &str>(1).len() == 100);
    }
    assert_eq!(count, 100_000);
}
