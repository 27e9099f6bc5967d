//! A healthy primary, and what each thing that is wrong with it is told as.

use super::super::facts::Slot;
use super::super::replication::Identity;
use super::*;

fn healthy() -> Facts {
    let settings = [
        ("wal_level", "replica"),
        ("max_wal_senders", "10"),
        ("max_replication_slots", "10"),
        ("max_slot_wal_keep_size", "1024"),
        ("synchronous_standby_names", ""),
        ("shared_preload_libraries", ""),
        ("data_checksums", "on"),
    ];
    Facts {
        major: 15,
        version: "15.14".to_owned(),
        in_recovery: false,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        configured: Vec::new(),
        user: Rights::Replicates,
        senders: 1,
        slots: Vec::new(),
        bytes: Some(1 << 30),
        tablespaces: Vec::new(),
        superuser: Some("postgres".to_owned()),
        replication: Ok(Identity { system: "7".to_owned(), timeline: "1".to_owned() }),
    }
}

fn wanted() -> Wanted<'static> {
    Wanted {
        address: "db:5432",
        user: "rep",
        name: "r1",
        slot: "highwater_r1",
        slot_is_ours: false,
        copied: false,
        replicator: Replicator::User,
        from: Some("10.0.0.9"),
        system: None,
    }
}

/// The problems of a healthy primary on which `change` was done.
fn problems(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = healthy();
    change(&mut facts);
    judge(&facts, &wanted()).problems.into_iter().map(|problem| problem.text).collect()
}

fn set(name: &str, value: &str) -> impl FnOnce(&mut Facts) {
    let (name, value) = (name.to_owned(), value.to_owned());
    move |facts| {
        facts.settings.insert(name, value);
    }
}

#[test]
fn a_healthy_primary_has_no_problem_and_no_remark() {
    assert_eq!(judge(&healthy(), &wanted()), Verdict::default());
}

#[test]
fn each_problem_is_one_sentence_that_says_what_to_do() {
    let slot = |name: &str| Slot { name: name.to_owned(), usable: true, physical: true };
    let cases: Vec<(Vec<String>, &str)> = vec![
        (problems(set("wal_level", "minimal")), "ALTER SYSTEM SET wal_level = 'replica', and restart"),
        (problems(set("max_wal_senders", "2")), "ALTER SYSTEM SET max_wal_senders = 10, and restart"),
        (problems(set("max_replication_slots", "0")), "no replication slot is free"),
        (problems(|facts| facts.major = 13), "PostgreSQL 15.14, and highwater is for 14 to 18"),
        (problems(|facts| facts.in_recovery = true), "name the primary"),
        (problems(|facts| facts.user = Rights::None), "ALTER ROLE rep REPLICATION"),
        (problems(|facts| facts.slots.push(slot("highwater_r1"))), "choose another with --slot"),
    ];
    for (found, expected) in cases {
        assert_eq!(found.len(), 1, "{expected}: {found:?}");
        assert!(found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems(|facts| {
        set("wal_level", "minimal")(facts);
        set("max_wal_senders", "0")(facts);
        set("max_replication_slots", "0")(facts);
        facts.user = Rights::None;
    });
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn the_line_for_pg_hba_is_the_one_that_is_missing() {
    let said = |words: &str| Err(Refused::Said("28000".to_owned(), words.to_owned()));
    let by_host = "no pg_hba.conf entry for replication connection from host \"192.168.0.7\", user \"rep\", no encryption";
    let found = problems(|facts| facts.replication = said(by_host));
    assert!(found[0].contains("`host replication rep 192.168.0.7/32 scram-sha-256`"), "{found:?}");
    assert!(found[0].contains("pg_reload_conf"), "{found:?}");
    let by_socket =
        "no pg_hba.conf entry for replication connection from host \"[local]\", user \"rep\", no encryption";
    let found = problems(|facts| facts.replication = said(by_socket));
    assert!(found[0].contains("`local replication rep scram-sha-256`"), "{found:?}");
    let unknown = problems(|facts| facts.replication = said("rejected"));
    assert!(unknown[0].contains("10.0.0.9/32"), "{unknown:?}");
}

#[test]
fn a_run_that_goes_on_asks_for_no_second_slot_and_no_sender() {
    let mut facts = healthy();
    facts.slots.push(Slot { name: "highwater_r1".to_owned(), usable: true, physical: true });
    set("max_wal_senders", "1")(&mut facts);
    set("max_replication_slots", "1")(&mut facts);
    let going_on = Wanted { slot_is_ours: true, copied: true, system: Some("7"), ..wanted() };
    assert_eq!(judge(&facts, &going_on), Verdict::default());
    let of_another = Wanted { system: Some("8"), ..going_on };
    assert!(judge(&facts, &of_another).problems[0].text.contains("was made from the system 8"));
}

#[test]
fn a_role_of_its_own_is_made_only_by_who_may() {
    let own = Wanted { replicator: Replicator::OwnRole("highwater_replica_r1"), ..wanted() };
    let with = |rights| judge(&Facts { user: rights, ..healthy() }, &own).problems.len();
    assert_eq!([Rights::MakesReplicators, Rights::OnlyMakes].map(with), [0, 0]);
    assert_eq!([Rights::Replicates, Rights::None].map(with), [1, 1]);
}

#[test]
fn what_is_risky_or_not_known_is_remarked() {
    let mut facts = healthy();
    set("max_slot_wal_keep_size", "-1")(&mut facts);
    set("synchronous_standby_names", "*")(&mut facts);
    facts.bytes = None;
    facts.settings.remove("shared_preload_libraries");
    let verdict = judge(&facts, &wanted());
    assert_eq!((verdict.problems.len(), verdict.remarks.len()), (0, 4), "{verdict:?}");
}
