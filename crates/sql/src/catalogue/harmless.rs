// Flat table.
//! What PostgreSQL's own functions and relations do beyond their declared volatility.
//!
//! Only objects of `pg_catalog` are judged by name; everything else is judged by its row in the catalogue. Effects on the
//! session are the exception: a function of that name has them in any schema.

use crate::class::Effects;

/// Declared VOLATILE, yet they change nothing that outlives the call and their answer is as good from any node. All
/// may run a second time.
pub(super) static HARMLESS_FUNCTIONS: &[&str] = &[
    "array_sample",
    "array_shuffle",
    // TABLESAMPLE methods look like functions.
    "bernoulli",
    "clock_timestamp",
    "current_query",
    "gen_random_uuid",
    "pg_collation_actual_version",
    "pg_database_collation_actual_version",
    "pg_database_size",
    "pg_indexes_size",
    // Asked on purpose about the node at hand.
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_get_wal_replay_pause_state",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_relation_size",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "random",
    "random_normal",
    "system",
    "timeofday",
    // AT TIME ZONE on `time with time zone`.
    "timezone",
    "uuidv4",
    "uuidv7",
];

/// Not declared VOLATILE, and yet a replica refuses them: two give the transaction an id, one asks for what replicas do
/// not keep.
pub(super) static WRITING_FUNCTIONS: &[&str] =
    &["pg_current_xact_id", "pg_replication_origin_oid", "txid_current"];

/// The answer is about this node or this backend.
pub(super) static NODE_LOCAL_FUNCTIONS: &[&str] = &[
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_available_wal_summaries",
    "pg_backend_pid",
    "pg_backup_start_time",
    "pg_blocking_pids",
    "pg_conf_load_time",
    "pg_config",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_logfile",
    "pg_current_snapshot",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_current_xact_id_if_assigned",
    "pg_cursor",
    "pg_extension_update_paths",
    "pg_get_aios",
    "pg_get_backend_memory_contexts",
    "pg_get_loaded_modules",
    "pg_get_replication_slots",
    "pg_get_sequence_data",
    "pg_get_shmem_allocations",
    "pg_get_shmem_allocations_numa",
    "pg_get_wal_summarizer_state",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_is_other_temp_schema",
    "pg_jit_available",
    "pg_last_committed_xact",
    "pg_listening_channels",
    "pg_lock_status",
    "pg_ls_archive_statusdir",
    "pg_ls_dir",
    "pg_ls_logdir",
    "pg_ls_logicalmapdir",
    "pg_ls_logicalsnapdir",
    "pg_ls_replslotdir",
    "pg_ls_summariesdir",
    "pg_ls_tmpdir",
    "pg_ls_waldir",
    "pg_my_temp_schema",
    "pg_notification_queue_usage",
    "pg_numa_available",
    "pg_postmaster_start_time",
    "pg_prepared_statement",
    "pg_prepared_xact",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_replication_origin_progress",
    "pg_replication_origin_session_is_setup",
    "pg_replication_origin_session_progress",
    "pg_safe_snapshot_blocking_pids",
    // A replica's sequences run ahead by what the primary logs in advance.
    "pg_sequence_last_value",
    "pg_show_all_file_settings",
    "pg_show_replication_origin_status",
    "pg_stat_file",
    "pg_stat_have_stats",
    "pg_tablespace_location",
    "pg_trigger_depth",
    "pg_wal_summary_contents",
    "pg_walfile_name",
    "pg_walfile_name_offset",
    "txid_current_if_assigned",
    "txid_current_snapshot",
];

/// Functions whose name begins so are node-local, unless they are listed elsewhere or reset something.
pub(super) const NODE_LOCAL_FUNCTION_PREFIX: &str = "pg_stat_get_";

/// Relations whose name begins so hold statistics of one node, in any schema (`pg_stat_statements` lives where its
/// extension was made).
pub(super) static NODE_LOCAL_RELATION_PREFIXES: &[&str] = &["pg_stat_", "pg_statio_"];

/// Other relations of one node or one backend.
pub(super) static NODE_LOCAL_RELATIONS: &[&str] = &[
    "pg_aios",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_backend_memory_contexts",
    "pg_config",
    "pg_cursors",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_locks",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_replication_origin_status",
    "pg_replication_slots",
    "pg_sequences",
    "pg_shmem_allocations",
    "pg_shmem_allocations_numa",
];

/// What a function of this name, in lower case, leaves in the session, whatever its schema.
pub(crate) fn effects_of_function(name: &[u8]) -> Effects {
    match name {
        b"set_config"
        | b"setseed"
        | b"dblink_connect"
        | b"dblink_connect_u"
        | b"dblink_disconnect"
        | b"pg_replication_origin_session_setup"
        | b"pg_replication_origin_session_reset" => Effects::UNTRACKED_STATE,
        b"pg_advisory_lock"
        | b"pg_advisory_lock_shared"
        | b"pg_try_advisory_lock"
        | b"pg_try_advisory_lock_shared"
        | b"pg_advisory_unlock"
        | b"pg_advisory_unlock_shared"
        | b"pg_advisory_unlock_all" => Effects::ADVISORY_LOCK,
        _ => Effects::NONE,
    }
}
