//! Answers as servers of several versions and roles give them.

use super::*;

const AT: Instant = Instant::START;

/// A primary of version 15 with a streaming replica and a slot that nobody uses.
const PRIMARY: &str = r#"{"in_recovery":false,"sees":true,
"senders":[{"pid":71,"usename":"rep","application_name":"n1","client_addr":"10.0.0.2","slot_name":"n1","state":"streaming",
  "sync_state":"async","sent_lsn":"0/3000400","write_lsn":"0/3000300","flush_lsn":"0/3000200","replay_lsn":"0/3000100",
  "write_ms":0.25,"flush_ms":1.5,"replay_ms":2000,"silent_ms":-3,"total":70}],
"slots":[{"slot_name":"n1","slot_type":"physical","database":null,"active":true,"temporary":false,"restart_lsn":"0/3000200",
  "wal_status":"reserved","safe_wal_size":null,"invalidation":null,"inactive_ms":null,"total":2},
 {"slot_name":"old","slot_type":"logical","database":"app","active":false,"temporary":false,"restart_lsn":null,
  "wal_status":"lost","safe_wal_size":-5,"invalidation":"wal_removed","inactive_ms":60000,"total":2}],
"receiver":null,"end":"0/3000500","page_bytes":8192,"segment_bytes":16777216,
"conflicts":{"tablespace":0,"lock":0,"snapshot":0,"bufferpin":0,"deadlock":0,"active_logicalslot":null},
"connections":7,"connections_max":100,"slot_limit":1073741824}"#;

const REPLICA: &str = r#"{"in_recovery":true,"sees":true,"senders":null,"slots":null,
"receiver":{"status":"streaming","sender_host":"10.0.0.1","sender_port":5432,"slot_name":"n1","received_tli":3,
  "written_lsn":"0/3000300","flushed_lsn":"0/3000200","conninfo":"user=rep dbname=replication host=10.0.0.1 fallback_application_name=walreceiver","silent_ms":12.5},
"end":"0/3000200","page_bytes":8192,"segment_bytes":16777216,
"conflicts":{"tablespace":0,"lock":1,"snapshot":4,"bufferpin":0,"deadlock":0,"active_logicalslot":2},
"connections":1,"connections_max":100,"slot_limit":-1}"#;

/// What a role without pg_monitor is told by a primary, and by a replica.
const HIDDEN: &str = r#"{"in_recovery":true,"sees":false,
"senders":[{"pid":71,"usename":null,"application_name":null,"state":null,"sent_lsn":null,"total":1}],"slots":null,
"receiver":{"status":null,"sender_host":null,"sender_port":null,"slot_name":null,"received_tli":null,"written_lsn":null,
  "flushed_lsn":null,"conninfo":null,"silent_ms":null},
"end":"0/3000200","conflicts":{"tablespace":null},"connections":1}"#;

fn answer(text: &str) -> Replication {
    read(text, AT).expect("it is an answer")
}

#[test]
fn a_primary_tells_who_streams_and_what_its_slots_keep() {
    let said = answer(PRIMARY);
    let senders = said.senders.unwrap();
    assert_eq!((senders.some.len(), senders.total), (1, 70), "the list is cut, the number is not");
    let sender = &senders.some[0];
    assert_eq!(sender.reached.written, Some(Lsn(0x300_0300)));
    assert_eq!((sender.lag_ms.write, sender.lag_ms.replay), (Some(0.25), Some(2000.0)));
    assert_eq!(sender.silent_ms, Some(0.0), "a clock that was set back gives no time before its beginning");
    let slots = said.slots.unwrap().some;
    assert_eq!((slots[0].retained_bytes, slots[0].is_lost()), (Some(0x300), Some(false)));
    assert_eq!((slots[1].retained_bytes, slots[1].is_lost()), (None, Some(true)));
    assert_eq!(said.slot_limit, SlotLimit::Bytes(1 << 30));
    assert_eq!((said.receiver, said.connections.used), (None, Some(7)));
}

#[test]
fn a_replica_tells_what_it_receives_and_its_conflicts_by_cause() {
    let said = answer(REPLICA);
    let receiver = said.receiver.unwrap();
    assert_eq!((receiver.slot.as_deref(), receiver.sender_port), (Some("n1"), Some(5432)));
    assert_eq!(receiver.application_name.as_deref(), Some("walreceiver"));
    assert_eq!((receiver.timeline, receiver.written), (Some(Timeline(3)), Some(Lsn(0x300_0300))));
    let conflicts = said.conflicts.unwrap();
    assert_eq!(conflicts.total(), 7);
    assert_eq!(
        conflicts.by_cause().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
        [("lock", 1), ("snapshot", 4), ("active_logicalslot", 2)]
    );
    assert_eq!((said.senders.unwrap().total, said.slot_limit), (0, SlotLimit::Unlimited));
}

#[test]
fn a_cause_that_a_version_does_not_count_is_unknown_and_not_zero() {
    let conflicts = answer(PRIMARY).conflicts.unwrap();
    assert_eq!(conflicts.by_cause().count(), 5);
    assert_eq!(conflicts.total(), 0);
}

#[test]
fn what_the_role_may_not_see_is_unknown() {
    let said = answer(HIDDEN);
    assert_eq!((said.senders, said.conflicts), (None, None));
    assert_eq!(said.connections, Connections { used: None, max: None });
    assert_eq!(said.receiver, Some(Receiving::default()), "there is one, and that is all");
    assert_eq!(said.slot_limit, SlotLimit::Unknown);
}

#[test]
fn the_end_of_a_primarys_wal_is_not_behind_an_empty_pages_header() {
    let text = PRIMARY.replace("0/3000500", "0/3002018");
    assert_eq!(answer(&text).end, Some(Lsn(0x300_2000)));
    let text = REPLICA.replace("\"end\":\"0/3000200\"", "\"end\":\"0/3002018\"");
    assert_eq!(answer(&text).end, Some(Lsn(0x300_2018)), "a replica's positions are ends of records");
}

#[test]
fn what_is_no_answer_is_refused() {
    for text in ["", "null", "[]", "{}", r#"{"in_recovery":true}"#, r#"{"sees":true}"#] {
        assert_eq!(read(text, AT), None, "{text}");
    }
}

#[test]
fn a_receivers_name_is_what_its_connection_announces() {
    let cases = [
        ("user=a application_name=n1 fallback_application_name=walreceiver", Some("n1")),
        ("user=a fallback_application_name=main", Some("main")),
        (r"application_name='two words' user=a", Some("two words")),
        (r"application_name='it\'s \\ here'", Some(r"it's \ here")),
        (r"password='application_name=x' application_name=y", Some("y")),
        ("user=a", None),
        ("application_name= user=a", None),
        ("application_name", None),
        ("application_name='", None),
        ("", None),
    ];
    for (conninfo, name) in cases {
        assert_eq!(announced(conninfo).as_deref(), name, "{conninfo}");
    }
}
