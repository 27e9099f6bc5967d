# What Highwater needs of PostgreSQL, as one parameter group. Each value says why it is there.
#
# Values of a replica only are harmless on the primary, so both may have the group: an existing primary is given it by hand
# (`aws rds modify-db-instance --db-parameter-group-name`, then a restart), because this module does not change what it did not make.

locals {
  parameters = merge(
    {
      # Vacuum on the primary leaves what reads on replicas still look at: otherwise it cancels them.
      "hot_standby_feedback" = { value = var.hot_standby_feedback ? "1" : "0", apply_method = "immediate" }

      # Replay waits this long for reads in its way (locks of DDL, mostly), then cancels them. While it waits, the replica ages. The
      # first holds while WAL is streamed, the second while RDS takes it from the archive.
      "max_standby_streaming_delay" = { value = tostring(var.max_standby_delay_ms), apply_method = "immediate" }
      "max_standby_archive_delay"   = { value = tostring(var.max_standby_delay_ms), apply_method = "immediate" }

      # Which statements cost what, on each node: replicas count theirs, which the primary does not see.
      "shared_preload_libraries" = { value = "pg_stat_statements", apply_method = "pending-reboot" }
      "pg_stat_statements.track" = { value = "top", apply_method = "immediate" }
      "track_io_timing"          = { value = "1", apply_method = "immediate" }

      # Highwater logs in with SCRAM; md5 has to be allowed in its configuration first.
      "password_encryption" = { value = "scram-sha-256", apply_method = "immediate" }

      # Highwater speaks no TLS to nodes, and RDS insists on it since PostgreSQL 15.
      "rds.force_ssl" = { value = var.force_ssl ? "1" : "0", apply_method = "immediate" }

      # Which reads were cancelled by replay, and what held it up.
      "log_recovery_conflict_waits" = { value = "1", apply_method = "immediate" }
    },
    # A replica that allows fewer connections than its primary does not replay.
    var.max_connections == null ? {} : {
      "max_connections" = { value = tostring(var.max_connections), apply_method = "pending-reboot" }
    },
    var.extra_parameters,
  )

  # null: RDS gives a replica in the primary's region the primary's group.
  parameter_group = var.create_parameter_group ? one(aws_db_parameter_group.highwater[*].name) : var.parameter_group_name
}

resource "aws_db_parameter_group" "highwater" {
  count = var.create_parameter_group ? 1 : 0

  # A prefix and create_before_destroy: the family changes with the major version, and a group in use cannot be deleted.
  name_prefix = "${var.primary_identifier}-highwater-"
  family      = "postgres${local.major}"
  description = "What Highwater needs of ${var.primary_identifier} and its replicas"

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.apply_method
    }
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}
