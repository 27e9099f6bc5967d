# The role by which RDS hands the samples of Enhanced Monitoring to CloudWatch Logs: it can do that and nothing else.

locals {
  makes_monitoring_role = var.monitoring_interval > 0 && var.monitoring_role_arn == null
  monitoring_role_arn   = var.monitoring_interval == 0 ? null : local.makes_monitoring_role ? one(aws_iam_role.monitoring[*].arn) : var.monitoring_role_arn
}

resource "aws_iam_role" "monitoring" {
  count = local.makes_monitoring_role ? 1 : 0

  name_prefix = "rds-monitoring-"
  description = "Enhanced Monitoring of ${var.primary_identifier} and its replicas"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
    }]
  })

  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  count = local.makes_monitoring_role ? 1 : 0

  role       = aws_iam_role.monitoring[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
