//! Tables of a made-up moment.

use super::*;
use crate::overview::example;

fn shown(subject: Subject) -> Table {
    table(subject, &example::overview())
}

#[test]
fn every_subject_has_a_table_whose_rows_are_as_wide_as_its_header() {
    for &subject in Subject::ALL {
        let table = shown(subject);
        assert!(!table.rows().is_empty(), "{}", subject.name());
        assert!(table.rows().iter().all(|row| row.len() == table.columns().len()), "{}", subject.name());
    }
}

#[test]
fn nodes_show_what_is_proved_and_null_for_what_is_not() {
    let nodes = shown(Subject::Nodes);
    assert_eq!((nodes.cell(0, "role"), nodes.cell(0, "staleness_ms")), (Some("primary"), Some("0")));
    assert_eq!((nodes.cell(1, "role"), nodes.cell(1, "staleness_ms")), (Some("replica"), Some("250")));
    assert_eq!((nodes.cell(1, "lag_bytes"), nodes.cell(1, "position")), (Some("96"), Some("0/3000000")));
    assert_eq!((nodes.cell(2, "state"), nodes.cell(2, "staleness_ms")), (Some("down"), None));
    assert!(nodes.cell(2, "last_error").is_some());
}

#[test]
fn freshness_says_whether_the_newest_write_is_visible() {
    let mut overview = example::overview();
    assert_eq!(table(Subject::Freshness, &overview).cell(1, "shows_newest_write"), Some("yes"));
    overview.clusters[0].newest_write = Some(overview.now - Duration::from_millis(100));
    let freshness = table(Subject::Freshness, &overview);
    assert_eq!(freshness.cell(0, "shows_newest_write"), Some("yes"));
    assert_eq!(freshness.cell(1, "shows_newest_write"), Some("no"));
    overview.clusters[0].newest_write = None;
    assert_eq!(table(Subject::Freshness, &overview).cell(1, "shows_newest_write"), None);
}

#[test]
fn pools_have_one_row_for_a_database_and_a_user_over_all_nodes() {
    let mut overview = example::overview();
    let mut other = overview.snapshot.pools[0].clone();
    other.node = engine::view::NodeId(0);
    overview.snapshot.pools.push(other);
    let pools = table(Subject::Pools, &overview);
    assert_eq!(pools.rows().len(), 1);
    assert_eq!((pools.cell(0, "nodes"), pools.cell(0, "size")), (Some("2"), Some("40")));
    assert_eq!((pools.cell(0, "sv_active"), pools.cell(0, "sv_login")), (Some("2"), Some("2")));
    assert_eq!((pools.cell(0, "cl_active"), pools.cell(0, "cl_waiting")), (Some("0"), Some("1")));
    assert_eq!((pools.cell(0, "maxwait"), pools.cell(0, "maxwait_us")), (Some("1"), Some("500000")));
    assert_eq!(table(Subject::NodePools, &overview).rows().len(), 2);
}

#[test]
fn a_client_without_a_backend_is_in_a_pool_too() {
    let mut overview = example::overview();
    overview.snapshot.pools.clear();
    overview.snapshot.clients[0].state = "idle";
    let pools = table(Subject::Pools, &overview);
    assert_eq!((pools.cell(0, "cl_active"), pools.cell(0, "pool_mode")), (Some("1"), Some("transaction")));
}

#[test]
fn clients_and_servers_have_pgbouncers_columns_and_are_joined_by_their_pointers() {
    let mut overview = example::overview();
    overview.snapshot.backends[0].client = Some(17);
    let (clients, servers) = (table(Subject::Clients, &overview), table(Subject::Servers, &overview));
    assert_eq!(clients.cell(0, "ptr"), servers.cell(0, "link"));
    assert_eq!((clients.cell(0, "wait"), clients.cell(0, "wait_us")), (Some("1"), Some("500000")));
    assert_eq!(clients.cell(0, "connect_time"), Some("2026-11-21 05:59:00 UTC"));
    assert_eq!((servers.cell(0, "remote_pid"), servers.cell(0, "node")), (Some("4711"), Some("two")));
    assert_eq!(clients.columns()[..3], [("type", Text), ("user", Text), ("database", Text)]);
}

#[test]
fn a_databases_host_is_its_primary() {
    let databases = shown(Subject::Databases);
    assert_eq!((databases.cell(0, "host"), databases.cell(0, "port")), (Some("10.0.0.1"), Some("5432")));
    assert_eq!(
        (databases.cell(0, "consistency"), databases.cell(0, "pool_size")),
        (Some("session"), Some("20"))
    );
}

#[test]
fn the_version_is_one_that_exporters_can_read() {
    let version = shown(Subject::Version);
    assert!(version.cell(0, "version").unwrap().starts_with("PgBouncer 1."));
}

#[test]
fn the_time_of_day_is_right_on_leap_days_and_at_the_beginning() {
    let at = |seconds| time_of_day(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
    assert_eq!(at(951_782_400), "2000-02-29 00:00:00 UTC");
    assert_eq!(at(1_795_240_800), "2026-11-21 06:00:00 UTC");
    assert_eq!(at(4_107_542_399), "2100-02-28 23:59:59 UTC");
}
