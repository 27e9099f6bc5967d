//! Which run of which server answers on a connection: asked by the monitor and on every new backend, in the same words.
//!
//! A server that crashed can come back showing less than before, so that nothing learned from one run may be used
//! for the next. It does not decide what a new run means; `engine::cluster` does.

use engine::view::Incarnation;
use xxhash_rust::xxh3::xxh3_64;

/// An SQL expression whose text is the same for all connections to one run of one server, and different for others.
/// Any role may ask it, on PostgreSQL 14 and later, on a primary and on a replica.
///
/// The postmaster survives the crash of a backend and keeps its start time, although recovery begins anew from the last
/// restart point. From version 15 on statistics are discarded at that moment, which their reset time tells. Version 14
/// keeps its statistics in a process whose answer may be late, so that it isn't asked there. Aurora isn't asked for its
/// control file, which it may refuse.
pub(crate) const EXPRESSION: &str = "concat_ws(' ', \
    CASE WHEN to_regproc('pg_catalog.aurora_replica_status') IS NULL \
    THEN (SELECT system_identifier FROM pg_control_system()) END, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8, \
    CASE WHEN current_setting('server_version_num')::int4 >= 150000 \
    THEN (extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::int8 END)";

/// The incarnation that the text of [`EXPRESSION`] stands for.
pub(crate) fn from_text(text: &[u8]) -> Incarnation {
    Incarnation(xxh3_64(text))
}

#[cfg(test)]
mod tests {
    use super::from_text;

    #[test]
    fn another_start_or_another_reset_is_another_incarnation() {
        let texts: [&[u8]; 4] = [
            b"7710499458614647024 1795240553209253 1795240553212754",
            b"7710499458614647024 1795240553209253 1795240679981129",
            b"7710499458614647024 1795240553209254 1795240553212754",
            b"7710499458614647025 1795240553209253 1795240553212754",
        ];
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                assert_eq!(from_text(a) == from_text(b), i == j);
            }
        }
    }
}
