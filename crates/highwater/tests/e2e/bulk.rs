//! Big results and COPY pass in constant memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, pin_mut};

use crate::harness::raw::Raw;
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Router, alone, shared};

/// The most memory that a router may have resident while it relays.
const MEMORY_MAX: u64 = 64 << 20;

/// Fails when the router has ever had more than [`MEMORY_MAX`].
fn within_memory(router: Option<&Router>, what: &str) {
    let Some(router) = router else { return };
    let (now, peak) = (router.rss(), router.rss_peak());
    println!("{what}: {:.1} MiB resident, {:.1} MiB at its peak", mebibytes(now), mebibytes(peak));
    assert!(peak < MEMORY_MAX, "{what}: the router had {:.1} MiB", mebibytes(peak));
}

fn mebibytes(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::MAX, f64::from) / 1024.0
}

#[tokio::test]
async fn a_million_rows_pass_in_constant_memory() {
    let _alone = alone().await;
    let fixture = crate::harness::Fixture::start(crate::harness::Settings::default()).await;
    let client = fixture.connect().await;
    let rows = client
        .query_raw("SELECT n, md5(n::text) FROM generate_series(1, 1000000) n", Vec::<i32>::new())
        .await;
    let rows = rows.unwrap();
    pin_mut!(rows);
    let mut sum = 0_i64;
    while let Some(row) = rows.next().await {
        sum += i64::from(row.unwrap().get::<_, i32>(0));
    }
    assert_eq!(sum, 500_000_500_000);
    within_memory(fixture.router.as_ref(), "a million rows");
}

#[tokio::test]
async fn copy_of_a_hundred_megabytes_in_and_out_passes_in_constant_memory() {
    let _alone = alone().await;
    let fixture = crate::harness::Fixture::start(crate::harness::Settings::default()).await;
    let client = fixture.connect().await;
    client.batch_execute("CREATE UNLOGGED TABLE copied (line text)").await.unwrap();
    let line = format!("{}\n", "0123456789".repeat(100));
    let chunk = Bytes::from(line.repeat(64));
    let chunks = (100 << 20) / chunk.len() + 1;
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for _ in 0..chunks {
        sink.feed(chunk.clone()).await.unwrap();
    }
    let rows = sink.finish().await.unwrap();
    assert_eq!(rows, chunks as u64 * 64);
    within_memory(fixture.router.as_ref(), "COPY in");
    let out = client.copy_out("COPY copied TO STDOUT").await.unwrap();
    pin_mut!(out);
    let mut received = 0;
    while let Some(data) = out.next().await {
        received += data.unwrap().len();
    }
    assert_eq!(received, chunks * chunk.len());
    within_memory(fixture.router.as_ref(), "COPY in and out");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_costs_little_memory() {
    let _alone = alone().await;
    let fixture = crate::harness::Fixture::start(crate::harness::Settings::default()).await;
    let mut lazy: Vec<Raw> = (0..4).map(|_| fixture.raw()).collect();
    for raw in &mut lazy {
        raw.send_query("SELECT repeat('x', 1000) FROM generate_series(1, 300000)");
        raw.receive();
    }
    let mut busy = Raw::login(fixture.port(), "app", APP_PASSWORD, "app");
    for number in 0..2000 {
        assert_eq!(busy.value(&format!("SELECT {number}")), number.to_string());
    }
    within_memory(fixture.router.as_ref(), "four clients that do not read");
    // The answer is whole when the client reads at last.
    let mut rows = 0;
    let raw = &mut lazy[0];
    loop {
        match raw.receive().tag {
            b'D' => rows += 1,
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(rows, 300_000);
}

#[tokio::test]
async fn idle_clients_cost_little_memory() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    let before = router.rss();
    let clients: Vec<Raw> = (0..200).map(|_| fixture.raw()).collect();
    let each = router.rss().saturating_sub(before) / 200;
    println!("an idle client: {each} bytes resident");
    assert!(each < 64 << 10, "{each} bytes for an idle client");
    drop(clients);
}

#[tokio::test]
async fn a_router_with_nothing_to_do_uses_no_processor() {
    let _alone = alone().await;
    let fixture = crate::harness::Fixture::start(crate::harness::Settings::default()).await;
    let Some(router) = fixture.router() else { return };
    let _idle: Vec<Raw> = (0..20).map(|_| fixture.raw()).collect();
    let before = router.cpu_ticks();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = router.cpu_ticks() - before;
    println!("idle for 3 s: {used} ticks of processor time");
    assert!(used <= 30, "{} % of a processor while idle", used / 3);
}
