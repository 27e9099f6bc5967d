locals {
  names = { for n in range(1, var.replica_count + 1) : tostring(n) => "${var.primary_identifier}-replica-${n}" }

  override = { for n in keys(local.names) : n => try(var.replica_overrides[n], null) }
  class = { for n in keys(local.names) : n => coalesce(
    try(local.override[n].instance_class, null), var.instance_class, local.primary.instance_class,
  ) }

  # The primary's zone last: what takes down a zone should not take both.
  zones = concat(
    [for zone in var.availability_zones : zone if zone != local.primary.availability_zone],
    [for zone in var.availability_zones : zone if zone == local.primary.availability_zone],
  )
  zone = { for n in keys(local.names) : n => try(
    coalesce(try(local.override[n].availability_zone, null), element(local.zones, tonumber(n) - 1)), null,
  ) }

  # RDS takes IOPS and throughput for gp3 from 400 GiB on only; below, they are fixed and naming them is an error.
  has_iops       = contains(["io1", "io2"], local.primary.storage_type) || (local.primary.storage_type == "gp3" && try(local.primary.allocated_storage >= 400, false))
  has_throughput = local.primary.storage_type == "gp3" && try(local.primary.allocated_storage >= 400, false)

  log_exports = var.log_exports != null ? toset(var.log_exports) : local.makes_primary ? toset(["postgresql", "upgrade"]) : local.found.log_exports

  # Sizes from small to large, to see whether a replica is smaller than its primary. "metal" is the whole machine.
  sizes   = ["micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "6xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "32xlarge", "48xlarge", "metal"]
  rank    = { for class in distinct(concat(values(local.class), [local.primary.instance_class])) : class => try(index(local.sizes, element(split(".", class), 2)), null) }
  smaller = [for n, class in local.class : local.names[n] if try(local.rank[class] < local.rank[local.primary.instance_class], false)]
}

# The rules of RDS that tie several values together. Here once, rather than once for each replica.
resource "terraform_data" "rules" {
  lifecycle {
    precondition {
      condition     = local.is_cross_region || var.vpc_security_group_ids == null
      error_message = "vpc_security_group_ids is for replicas in another region only: in ${local.region} replicas get exactly the security groups of ${var.primary_identifier}."
    }

    precondition {
      condition     = !local.is_cross_region || try(length(var.vpc_security_group_ids) > 0, false)
      error_message = "Replicas in ${local.region} of a primary in ${local.primary_region} need vpc_security_group_ids: security groups belong to a region, and without any RDS takes the VPC's default one."
    }

    precondition {
      condition     = local.is_cross_region || var.db_subnet_group_name == null
      error_message = "db_subnet_group_name is for replicas in another region only: in ${local.region} RDS puts replicas into the primary's subnet group."
    }

    precondition {
      condition     = !local.is_cross_region || var.db_subnet_group_name != null
      error_message = "Replicas in ${local.region} of a primary in ${local.primary_region} need db_subnet_group_name: without it RDS takes the default VPC."
    }

    precondition {
      condition     = local.is_cross_region || var.kms_key_arn == null
      error_message = "kms_key_arn is for replicas in another region only: in ${local.region} replicas get the key of ${var.primary_identifier} by themselves, and another would make them differ."
    }

    precondition {
      condition     = !local.is_cross_region || !local.primary.storage_encrypted || var.kms_key_arn != null
      error_message = "${var.primary_identifier} is encrypted, and its key does not exist in ${local.region}: give kms_key_arn, a key of ${local.region}. RDS refuses an unencrypted replica of an encrypted primary."
    }

    precondition {
      condition     = !local.is_cross_region || local.primary.storage_encrypted || var.kms_key_arn == null
      error_message = "${var.primary_identifier} is not encrypted, and RDS makes no encrypted replica of it: leave kms_key_arn out."
    }

    precondition {
      condition     = var.kms_key_arn == null || try(split(":", var.kms_key_arn)[3] == local.region, false)
      error_message = "kms_key_arn is a key of ${try(split(":", var.kms_key_arn)[3], "another region")}, and the replicas are in ${local.region}: a key can be used in its own region only."
    }

    precondition {
      condition     = !local.is_cross_region || var.create_parameter_group || var.parameter_group_name != null
      error_message = "Replicas in another region inherit no parameter group: RDS would give them its default one, without hot_standby_feedback and with TLS enforced. Leave create_parameter_group on, or name one of ${local.region} in parameter_group_name."
    }

    precondition {
      condition     = length(local.smaller) == 0 || var.max_connections != null
      error_message = "${join(", ", local.smaller)} would be smaller than the primary (${local.primary.instance_class}). RDS derives max_connections from memory, and PostgreSQL does not replay on a replica that allows fewer connections than its primary: set max_connections to the primary's value, or take the primary's class."
    }
  }
}

resource "aws_db_instance" "replica" {
  for_each = local.names

  identifier          = each.value
  replicate_source_db = local.primary.source
  instance_class      = local.class[each.key]

  # Always passed. A request without them gets the default security group of the VPC, not the primary's.
  vpc_security_group_ids = local.is_cross_region ? toset(coalesce(var.vpc_security_group_ids, [])) : local.primary.security_groups
  # Passed although a replica's request has no such thing: the provider compares it with what is, and absent means false to it.
  storage_encrypted = local.primary.storage_encrypted
  # Inherited in the same region; older answers of the API refused it there.
  kms_key_id           = local.is_cross_region ? var.kms_key_arn : null
  db_subnet_group_name = local.is_cross_region ? var.db_subnet_group_name : null
  parameter_group_name = local.parameter_group

  # allocated_storage is not passed: it is the primary's. The type is passed, because RDS's default for replicas is gp3.
  storage_type          = local.primary.storage_type
  iops                  = local.has_iops ? local.primary.iops : null
  storage_throughput    = local.has_throughput ? local.primary.throughput : null
  max_allocated_storage = try(local.primary.max_allocated > 0, false) ? local.primary.max_allocated : null

  port                       = local.primary.port
  network_type               = local.primary.network_type
  availability_zone          = coalesce(try(local.override[each.key].multi_az, null), var.multi_az) ? null : local.zone[each.key]
  multi_az                   = coalesce(try(local.override[each.key].multi_az, null), var.multi_az)
  publicly_accessible        = var.publicly_accessible
  ca_cert_identifier         = var.ca_cert_identifier != null ? var.ca_cert_identifier : local.is_cross_region ? null : local.primary.certificate
  auto_minor_version_upgrade = local.primary.auto_minor_upgrade
  maintenance_window         = try(coalesce(try(local.override[each.key].maintenance_window, null), var.replica_maintenance_window), null)
  apply_immediately          = var.replica_apply_immediately

  backup_retention_period  = var.replica_backup_retention_days
  copy_tags_to_snapshot    = true
  delete_automated_backups = true
  deletion_protection      = var.replica_deletion_protection
  # RDS takes no final snapshot of a replica: asking for one makes its deletion fail.
  skip_final_snapshot = true

  monitoring_interval                   = var.monitoring_interval
  monitoring_role_arn                   = local.monitoring_role_arn
  performance_insights_enabled          = var.performance_insights_enabled
  performance_insights_retention_period = var.performance_insights_enabled ? var.performance_insights_retention_days : null
  enabled_cloudwatch_logs_exports       = local.log_exports

  tags = var.tags

  # The policy too: RDS refuses a monitoring role that cannot do its work yet.
  depends_on = [terraform_data.rules, aws_iam_role_policy_attachment.monitoring]

  lifecycle {
    # Zones are for placing. The primary's changes with every failover, and a change of zone replaces a replica. A replica is upgraded
    # with its primary.
    ignore_changes = [availability_zone, engine_version]

    postcondition {
      condition     = toset(self.vpc_security_group_ids) == (local.is_cross_region ? toset(coalesce(var.vpc_security_group_ids, [])) : local.primary.security_groups)
      error_message = "${each.value} has other security groups than it was given: ${join(", ", self.vpc_security_group_ids)}. Somebody may reach it who may not reach the primary."
    }

    postcondition {
      condition     = self.storage_encrypted == local.primary.storage_encrypted
      error_message = "${each.value} is ${self.storage_encrypted ? "" : "not "}encrypted, unlike ${var.primary_identifier}."
    }

    postcondition {
      condition     = local.is_cross_region || !local.primary.storage_encrypted || self.kms_key_id == local.primary.kms_key
      error_message = "${each.value} is encrypted with another key than ${var.primary_identifier}."
    }

    postcondition {
      condition     = local.is_cross_region || self.db_subnet_group_name == local.primary.subnet_group
      error_message = "${each.value} is in the subnet group ${self.db_subnet_group_name}, ${var.primary_identifier} in ${local.primary.subnet_group}."
    }
  }
}
