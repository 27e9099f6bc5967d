# Replicas of a primary that exists, in its region.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  primary_identifier = "orders"
  primary_password   = "unused" # Terraform 1.11 wants ephemeral variables of a tested module set.
  replica_count      = 3
}

run "replica_is_as_its_primary" {
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.instance_class == "db.m7g.xlarge"])
    error_message = "class"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : toset(it.vpc_security_group_ids) == toset(["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"])])
    error_message = "security groups"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.storage_encrypted])
    error_message = "encryption"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.kms_key_id == data.aws_db_instance.primary[0].kms_key_id])
    error_message = "key"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.db_subnet_group_name == "private"])
    error_message = "subnet group"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.storage_type == "gp3" && it.iops == 12000 && it.storage_throughput == 500 && it.max_allocated_storage == 1000])
    error_message = "storage"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.ca_cert_identifier == "rds-ca-rsa4096-g1" && it.network_type == "IPV4" && it.port == 5432])
    error_message = "certificate authority, network type or port"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : !it.auto_minor_version_upgrade && toset(it.enabled_cloudwatch_logs_exports) == toset(["postgresql"])])
    error_message = "minor upgrades or log exports"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.replicate_source_db == "orders"])
    error_message = "in its own region the source is named by its identifier"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.parameter_group_name == aws_db_parameter_group.highwater[0].name])
    error_message = "parameter group"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : !it.publicly_accessible && it.skip_final_snapshot && it.backup_retention_period == 0 && it.apply_immediately && !it.deletion_protection])
    error_message = "what a replica has of its own"
  }
  assert {
    condition     = length(aws_db_instance.primary) == 0
    error_message = "a primary that exists is not made"
  }
}

# What is known in the plan is what is asked of AWS: nothing that the primary passes on by itself may be in it.
run "what_is_inherited_is_not_asked_for" {
  command = plan

  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.publicly_accessible == false && it.password == null && it.password_wo == null && it.manage_master_user_password == null])
    error_message = "a replica has its primary's users"
  }
}

run "each_instance_has_its_alarms" {
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.replica_lag) == 3 && length(aws_cloudwatch_metric_alarm.instance) == 4 * 5 && length(aws_cloudwatch_metric_alarm.slot_lag) == 1
    error_message = "three replicas and a primary: 3 × ReplicaLag, 4 × 5 others, 1 for slots"
  }
  assert {
    condition     = length(output.alarm_names) == 24 && contains(output.alarm_names, "orders-replica-3-ReplicaLag") && contains(output.alarm_names, "orders-CPUUtilization")
    error_message = "names"
  }
  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.replica_lag : it.treat_missing_data == "breaching" && it.evaluation_periods == 5 && it.datapoints_to_alarm == 5])
    error_message = "a silent replica alarms"
  }
  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.replica_lag : length([for query in it.metric_query : query if length(query.metric) == 1 && try(one(query.metric).period == 60, false)]) == 2])
    error_message = "lag and WAL, minute by minute"
  }
  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.replica_lag : one([for query in it.metric_query : query.expression if query.return_data]) == "IF(lag < 0, 31, IF(FILL(wal, 1025) > 1024, lag, 0))"])
    error_message = "unknown lag alarms, lag behind an idle primary does not, and a silent primary counts as busy"
  }
  assert {
    condition     = alltrue([for key in ["orders", "orders-replica-1", "orders-replica-2", "orders-replica-3"] : aws_cloudwatch_metric_alarm.instance["${key}-CPUUtilization"].threshold == 70 && aws_cloudwatch_metric_alarm.instance["${key}-CPUUtilization"].period * aws_cloudwatch_metric_alarm.instance["${key}-CPUUtilization"].evaluation_periods == 300])
    error_message = "CPU above 70 % for five minutes"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.slot_lag[0].threshold == 10240 * 1000000 && aws_cloudwatch_metric_alarm.slot_lag[0].comparison_operator == "GreaterThanThreshold" && aws_cloudwatch_metric_alarm.slot_lag[0].dimensions["DBInstanceIdentifier"] == "orders" && aws_cloudwatch_metric_alarm.slot_lag[0].period * aws_cloudwatch_metric_alarm.slot_lag[0].evaluation_periods == 300
    error_message = "WAL kept on the primary above 10240 MB for five minutes"
  }

  assert {
    condition     = alltrue([for key, it in aws_cloudwatch_metric_alarm.instance : it.dimensions["DBInstanceIdentifier"] == trimsuffix(key, "-${it.metric_name}")])
    error_message = "an alarm watches the instance it is named after"
  }
  assert {
    condition     = alltrue([for key, it in aws_cloudwatch_metric_alarm.instance : it.comparison_operator == (startswith(it.metric_name, "Free") ? "LessThanThreshold" : "GreaterThanThreshold")])
    error_message = "memory and storage alarm when low"
  }
}

run "plain_lag_alarm_on_request" {
  command = plan

  variables {
    lag_alarm_when_idle = true
    alarm_thresholds    = { replica_lag_seconds = 360, cpu_percent = 60 }
    alarm_actions       = ["arn:aws:sns:eu-central-1:111122223333:on-call"]
  }

  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.replica_lag : it.metric_name == "ReplicaLag" && it.threshold == 360 && it.period == 60 && it.treat_missing_data == "breaching" && length(it.metric_query) == 0])
    error_message = "the metric itself"
  }
  assert {
    condition     = alltrue([for it in concat(values(aws_cloudwatch_metric_alarm.instance), values(aws_cloudwatch_metric_alarm.replica_lag), aws_cloudwatch_metric_alarm.slot_lag) : toset(it.alarm_actions) == toset(["arn:aws:sns:eu-central-1:111122223333:on-call"])])
    error_message = "actions"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.instance["orders-replica-1-CPUUtilization"].threshold == 60
    error_message = "threshold"
  }
}

run "no_alarms_on_request" {
  command = plan

  variables {
    create_alarms = false
  }

  assert {
    condition     = length(output.alarm_names) == 0
    error_message = "none"
  }
}

run "override_is_honoured" {
  variables {
    instance_class     = "db.m7g.2xlarge"
    availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    replica_overrides = {
      "2" = { instance_class = "db.r7g.4xlarge", availability_zone = "eu-central-1c", maintenance_window = "sun:03:00-sun:03:30" }
      "3" = { multi_az = true }
    }
  }

  assert {
    condition     = [for it in aws_db_instance.replica : it.instance_class] == ["db.m7g.2xlarge", "db.r7g.4xlarge", "db.m7g.2xlarge"]
    error_message = "class"
  }
  assert {
    condition     = aws_db_instance.replica["2"].maintenance_window == "sun:03:00-sun:03:30" && aws_db_instance.replica["3"].multi_az && !aws_db_instance.replica["1"].multi_az
    error_message = "window and stand-in"
  }
}

run "zones_are_taken_in_turn_the_primarys_last" {
  command = plan

  # A name of its own: what is applied above keeps its zone.
  variables {
    primary_identifier = "billing"
    replica_count      = 4
    availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  }

  override_resource {
    target = aws_db_instance.replica
  }

  assert {
    condition     = [for n in ["1", "2", "3", "4"] : local.zone[n]] == ["eu-central-1b", "eu-central-1c", "eu-central-1a", "eu-central-1b"]
    error_message = "zones: ${jsonencode(local.zone)}"
  }
}

run "parameter_group_has_what_highwater_needs" {
  command = plan

  variables {
    max_connections  = 500
    extra_parameters = { "work_mem" = { value = "65536" }, "track_io_timing" = { value = "0" } }
  }

  assert {
    condition     = aws_db_parameter_group.highwater[0].family == "postgres16"
    error_message = "family"
  }
  assert {
    condition = { for it in aws_db_parameter_group.highwater[0].parameter : it.name => "${it.value} ${it.apply_method}" } == {
      "hot_standby_feedback"        = "1 immediate"
      "max_standby_streaming_delay" = "10000 immediate"
      "max_standby_archive_delay"   = "10000 immediate"
      "shared_preload_libraries"    = "pg_stat_statements pending-reboot"
      "pg_stat_statements.track"    = "top immediate"
      "track_io_timing"             = "0 immediate"
      "password_encryption"         = "scram-sha-256 immediate"
      "rds.force_ssl"               = "0 immediate"
      "log_recovery_conflict_waits" = "1 immediate"
      "max_connections"             = "500 pending-reboot"
      "work_mem"                    = "65536 immediate"
    }
    error_message = "parameters"
  }
}

run "the_primarys_group_on_request" {
  command = plan

  variables {
    create_parameter_group = false
  }

  assert {
    condition     = length(aws_db_parameter_group.highwater) == 0 && output.parameter_group_name == null
    error_message = "inherited"
  }
}

run "monitoring_role_is_made_given_or_absent" {
  command = plan

  assert {
    condition     = length(aws_iam_role.monitoring) == 1 && aws_iam_role_policy_attachment.monitoring[0].policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    error_message = "made"
  }
  assert {
    condition     = jsondecode(aws_iam_role.monitoring[0].assume_role_policy).Statement[0].Principal.Service == "monitoring.rds.amazonaws.com"
    error_message = "only RDS's monitoring may take it"
  }
}

run "monitoring_role_given" {
  command = plan

  variables {
    monitoring_role_arn = "arn:aws:iam::111122223333:role/watch"
    monitoring_interval = 15
  }

  assert {
    condition     = length(aws_iam_role.monitoring) == 0 && alltrue([for it in aws_db_instance.replica : it.monitoring_role_arn == "arn:aws:iam::111122223333:role/watch" && it.monitoring_interval == 15])
    error_message = "given"
  }
}

run "monitoring_off" {
  command = plan

  variables {
    monitoring_interval = 0
  }

  assert {
    condition     = length(aws_iam_role.monitoring) == 0 && output.monitoring_role_arn == null
    error_message = "absent"
  }
}

run "fifteen_replicas_are_the_most" {
  command = plan

  variables {
    replica_count = 15
  }

  assert {
    condition     = length(aws_db_instance.replica) == 15 && aws_db_instance.replica["15"].identifier == "orders-replica-15"
    error_message = "fifteen"
  }
}

run "none_is_fine_too" {
  command = plan

  variables {
    replica_count = 0
  }

  assert {
    condition     = length(output.replicas) == 0 && length(output.highwater_nodes) == 1 && length(aws_cloudwatch_metric_alarm.instance) == 5 && length(aws_cloudwatch_metric_alarm.slot_lag) == 0
    error_message = "the primary alone, with its alarms"
  }
}

run "outputs_speak_highwaters_words" {
  assert {
    condition     = [for it in output.highwater_nodes : it.name] == ["orders", "orders-replica-1", "orders-replica-2", "orders-replica-3"]
    error_message = "names"
  }
  assert {
    condition     = output.highwater_nodes[0].host == "orders.abcdefgh1234.eu-central-1.rds.amazonaws.com" && output.highwater_nodes[0].port == 5432
    error_message = "primary"
  }
  assert {
    condition     = [for it in output.replicas : it.name] == ["orders-replica-1", "orders-replica-2", "orders-replica-3"] && output.replicas[0].az == "eu-central-1b"
    error_message = "replicas"
  }
  assert {
    condition     = output.primary.az == "eu-central-1a" && toset(output.security_group_ids) == toset(["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"])
    error_message = "primary and groups"
  }
  assert {
    condition     = strcontains(output.highwater_toml, "{ name = \"orders-replica-2\", host = \"${aws_db_instance.replica["2"].address}\", port = 5432 },")
    error_message = output.highwater_toml
  }
}

# The provider's own region, spelt out, is not another region.
run "the_same_region_spelt_out" {
  command = plan

  variables {
    primary_identifier = "billing"
    primary_region     = "eu-central-1"
  }

  assert {
    condition     = !local.is_cross_region && alltrue([for it in aws_db_instance.replica : toset(it.vpc_security_group_ids) == toset(["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"])])
    error_message = "the primary's groups"
  }
}
