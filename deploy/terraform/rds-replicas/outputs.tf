output "highwater_nodes" {
  description = "Every node in Highwater's words, the primary first: {name, host, port}."
  value       = local.nodes
}

output "highwater_toml" {
  description = "A configuration for Highwater with these nodes. It names files for passwords and holds none."
  value       = local.highwater_toml
}

output "primary" {
  description = "The primary: {name, host, port, az, arn}."
  value = {
    name = var.primary_identifier
    host = local.primary.address
    port = local.primary.port
    az   = local.primary.availability_zone
    arn  = local.primary.arn
  }
}

output "replicas" {
  description = "The replicas in order: {name, host, port, az, arn}."
  value = [for n in range(1, var.replica_count + 1) : {
    name = aws_db_instance.replica[tostring(n)].identifier
    host = aws_db_instance.replica[tostring(n)].address
    port = aws_db_instance.replica[tostring(n)].port
    az   = aws_db_instance.replica[tostring(n)].availability_zone
    arn  = aws_db_instance.replica[tostring(n)].arn
  }]
}

output "security_group_ids" {
  description = "Security groups of the replicas: what Highwater must be let into."
  value       = local.is_cross_region ? toset(coalesce(var.vpc_security_group_ids, [])) : local.primary.security_groups
}

output "parameter_group_name" {
  description = "The parameter group with what Highwater needs, to be given to an existing primary too; null when replicas inherit the primary's."
  value       = local.parameter_group
}

output "monitoring_role_arn" {
  description = "The role of Enhanced Monitoring, or null."
  value       = local.monitoring_role_arn
}

output "alarm_names" {
  description = "Every alarm made here."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.instance : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.replica_lag : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.slot_lag : alarm.alarm_name],
  ))
}

locals {
  nodes = concat(
    [{ name = var.primary_identifier, host = local.primary.address, port = local.primary.port }],
    [for n in range(1, var.replica_count + 1) : {
      name = aws_db_instance.replica[tostring(n)].identifier
      host = aws_db_instance.replica[tostring(n)].address
      port = aws_db_instance.replica[tostring(n)].port
    }],
  )

  highwater_toml = templatefile("${path.module}/templates/highwater.toml.tftpl", { it = var.highwater, nodes = local.nodes })
}
