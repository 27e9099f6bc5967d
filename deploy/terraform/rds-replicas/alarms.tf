# CloudWatch alarms: five minutes on end beyond the threshold. Highwater's own alerts (deploy/prometheus) know more of staleness; these
# work without it.

locals {
  alarm_metrics = {
    CPUUtilization      = { above = true, threshold = var.alarm_thresholds.cpu_percent, says = "CPU above ${var.alarm_thresholds.cpu_percent} %" }
    FreeableMemory      = { above = false, threshold = var.alarm_thresholds.freeable_memory_bytes, says = "less than ${floor(var.alarm_thresholds.freeable_memory_bytes / 1048576)} MiB of memory to be had" }
    FreeStorageSpace    = { above = false, threshold = var.alarm_thresholds.free_storage_bytes, says = "less than ${floor(var.alarm_thresholds.free_storage_bytes / 1073741824)} GiB of storage free" }
    DatabaseConnections = { above = true, threshold = var.alarm_thresholds.connections, says = "more than ${var.alarm_thresholds.connections} connections" }
    DiskQueueDepth      = { above = true, threshold = var.alarm_thresholds.disk_queue_depth, says = "more than ${var.alarm_thresholds.disk_queue_depth} I/O operations waiting" }
  }

  # Instances in the replicas' region: an alarm watches metrics of its own region only.
  watched = merge(
    { for n, name in local.names : name => true },
    local.is_cross_region ? {} : { (var.primary_identifier) = true },
  )

  alarms = var.create_alarms ? merge([
    for instance in keys(local.watched) : {
      for metric, alarm in local.alarm_metrics : "${instance}-${metric}" => merge(alarm, { instance = instance, metric = metric })
    }
  ]...) : {}

  lag_alarms = var.create_alarms ? local.names : {}
  # While the primary writes no more than this (bytes of WAL a second) a growing ReplicaLag means nothing.
  idle_wal_bytes = 1024
  lag_is_joined  = !var.lag_alarm_when_idle && !local.is_cross_region
  # Below 0 RDS does not know. A primary that does not say how much it writes is taken as busy.
  behind = "IF(lag < 0, ${var.alarm_thresholds.replica_lag_seconds + 1}, IF(FILL(wal, ${local.idle_wal_bytes + 1}) > ${local.idle_wal_bytes}, lag, 0))"
}

resource "aws_cloudwatch_metric_alarm" "instance" {
  for_each = local.alarms

  alarm_name          = each.key
  alarm_description   = "${each.value.instance}: ${each.value.says} for five minutes."
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = each.value.instance }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.ok_actions
  tags                = var.tags

  depends_on = [aws_db_instance.replica, aws_db_instance.primary]
}

# No figure is as bad as a high one: a replica that does not say how far behind it is does not replicate.
resource "aws_cloudwatch_metric_alarm" "replica_lag" {
  for_each = local.lag_alarms

  alarm_name          = "${each.value}-ReplicaLag"
  alarm_description   = "${each.value}: more than ${var.alarm_thresholds.replica_lag_seconds} s behind ${var.primary_identifier} for five minutes, or silent."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_thresholds.replica_lag_seconds
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.ok_actions
  tags                = var.tags

  namespace   = local.lag_is_joined ? null : "AWS/RDS"
  metric_name = local.lag_is_joined ? null : "ReplicaLag"
  dimensions  = local.lag_is_joined ? null : { DBInstanceIdentifier = each.value }
  statistic   = local.lag_is_joined ? null : "Maximum"
  period      = local.lag_is_joined ? null : 60

  dynamic "metric_query" {
    for_each = local.lag_is_joined ? [
      { id = "behind", expression = local.behind, instance = null, metric = null },
      { id = "lag", expression = null, instance = each.value, metric = "ReplicaLag" },
      { id = "wal", expression = null, instance = var.primary_identifier, metric = "TransactionLogsGeneration" },
    ] : []

    content {
      id          = metric_query.value.id
      expression  = metric_query.value.expression
      label       = metric_query.value.expression == null ? null : "Seconds behind while the primary writes"
      return_data = metric_query.value.expression != null

      dynamic "metric" {
        for_each = metric_query.value.metric == null ? [] : [metric_query.value.metric]

        content {
          namespace   = "AWS/RDS"
          metric_name = metric.value
          dimensions  = { DBInstanceIdentifier = metric_query.value.instance }
          stat        = "Maximum"
          period      = 60
        }
      }
    }
  }

  depends_on = [aws_db_instance.replica]
}

# A replica that is gone while its slot stays makes the primary keep WAL until its storage is full.
resource "aws_cloudwatch_metric_alarm" "slot_lag" {
  count = var.create_alarms && !local.is_cross_region && var.replica_count > 0 ? 1 : 0

  alarm_name          = "${var.primary_identifier}-OldestReplicationSlotLag"
  alarm_description   = "${var.primary_identifier} keeps more than ${var.alarm_thresholds.replication_slot_lag_megabyte} MB of WAL for a replica that does not fetch it."
  namespace           = "AWS/RDS"
  metric_name         = "OldestReplicationSlotLag"
  dimensions          = { DBInstanceIdentifier = var.primary_identifier }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_thresholds.replication_slot_lag_megabyte * 1000000
  # There is a figure only while there are slots.
  treat_missing_data = "notBreaching"
  alarm_actions      = var.alarm_actions
  ok_actions         = var.ok_actions
  tags               = var.tags

  depends_on = [aws_db_instance.replica, aws_db_instance.primary]
}
