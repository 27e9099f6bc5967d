//! Scripts of the book, run as a reader would run them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::router::{binary, without_surprises};
use crate::harness::template::{Installation, base};
use crate::harness::{alone, direct, free_port, full};

/// `docs/book/src/first-replica.md`: from one server with data and load to two, what that brings, and back.
#[tokio::test]
async fn from_one_server_to_two_and_back_as_the_book_tells_it() {
    if direct() {
        return;
    }
    let _alone = alone().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/src/scripts/first-replica.sh");
    let place = base().join(format!("hw-e2e-{}-story", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let mut command = Command::new("bash");
    without_surprises(&mut command);
    for name in ["PRIMARY_PORT", "REPLICA_PORT", "ROUTER_PORT", "HTTP_PORT"] {
        command.env(name, free_port().to_string());
    }
    command.env("HIGHWATER", binary()).env("PG_BIN", Installation::default().bin).env("STORY_DIR", &place);
    command.env("BENCH_TIME", if full() { "30s" } else { "3s" });
    let output = command.arg(script).stdin(Stdio::null()).output().expect("bash can be run");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    for part in
        ["replica first streams at", "replication slots left: 0", "replica first is removed", "no replicas"]
    {
        assert!(out.contains(part), "{part}: {out}\n{err}");
    }
    let routes =
        out.lines().find(|line| line.contains("reads of router ran on")).expect("the load test says where");
    let on_replica = routes.split_once("first (replica) ").and_then(|(_, rest)| rest.split_once(" %"));
    let percent: u32 =
        on_replica.unwrap_or_else(|| panic!("no read on the replica: {routes}")).0.parse().unwrap();
    assert!(percent > 0, "{routes}");
    let left: Vec<_> = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "left in its directory: {left:?}");
    fs::remove_dir(&place).unwrap();
}
