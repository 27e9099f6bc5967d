# The primary: read, or made. Everything below speaks of local.primary and does not care which.

data "aws_region" "current" {}

data "aws_partition" "current" {}

data "aws_db_instance" "primary" {
  count = var.create_primary == null ? 1 : 0

  region                 = var.primary_region
  db_instance_identifier = var.primary_identifier

  lifecycle {
    postcondition {
      condition     = self.engine == "postgres" && try(length(self.db_cluster_identifier) == 0, true)
      error_message = "${var.primary_identifier} is ${self.engine}${try(length(self.db_cluster_identifier) > 0, false) ? " in the cluster ${self.db_cluster_identifier}" : ""}; this module replicates single RDS for PostgreSQL instances. Aurora and Multi-AZ clusters have readers of their own."
    }

    postcondition {
      condition     = self.engine != "postgres" || can(regex("^(1[4-9]|[2-9][0-9])([.]|$)", self.engine_version))
      error_message = "${var.primary_identifier} is PostgreSQL ${self.engine_version}; Highwater serves 14 and newer."
    }

    postcondition {
      condition     = try(length(self.replicate_source_db) == 0, true)
      error_message = "${var.primary_identifier} is itself a replica of ${coalesce(self.replicate_source_db, "another instance")}. Name its primary: a replica of a replica is behind by both."
    }

    postcondition {
      condition     = self.backup_retention_period > 0
      error_message = "${var.primary_identifier} has no automated backups (backup retention 0), and RDS makes no replica of such an instance. Set its retention to a day or more first: aws rds modify-db-instance --db-instance-identifier ${var.primary_identifier} --backup-retention-period 7 --apply-immediately (the instance restarts)."
    }

    postcondition {
      condition     = try(length(self.master_user_secret) == 0, true)
      error_message = "RDS manages ${var.primary_identifier}'s master password in Secrets Manager, and makes no replica of such an instance. Turn that off first: aws rds modify-db-instance --db-instance-identifier ${var.primary_identifier} --no-manage-master-user-password --master-user-password …"
    }

    postcondition {
      condition     = length(self.vpc_security_groups) > 0
      error_message = "${var.primary_identifier} has no security group to give to its replicas; RDS would take the VPC's default one for them. Give the primary one first."
    }
  }
}

resource "aws_db_instance" "primary" {
  count = var.create_primary == null ? 0 : 1

  identifier     = var.primary_identifier
  engine         = "postgres"
  engine_version = var.create_primary.engine_version
  instance_class = var.create_primary.instance_class
  db_name        = var.create_primary.db_name
  port           = var.create_primary.port

  username            = var.create_primary.username
  password_wo         = var.primary_password
  password_wo_version = var.primary_password_version

  allocated_storage     = var.create_primary.allocated_storage
  max_allocated_storage = var.create_primary.max_allocated_storage
  storage_type          = var.create_primary.storage_type
  iops                  = var.create_primary.iops
  storage_throughput    = var.create_primary.storage_throughput
  storage_encrypted     = var.create_primary.storage_encrypted
  kms_key_id            = var.create_primary.kms_key_arn

  db_subnet_group_name   = var.create_primary.db_subnet_group_name
  vpc_security_group_ids = var.create_primary.vpc_security_group_ids
  network_type           = var.create_primary.network_type
  publicly_accessible    = false
  multi_az               = var.create_primary.multi_az
  availability_zone      = var.create_primary.multi_az ? null : var.create_primary.availability_zone
  ca_cert_identifier     = var.create_primary.ca_cert_identifier

  parameter_group_name = local.parameter_group

  backup_retention_period    = var.create_primary.backup_retention_days
  backup_window              = var.create_primary.backup_window
  maintenance_window         = var.create_primary.maintenance_window
  auto_minor_version_upgrade = var.create_primary.auto_minor_version_upgrade
  apply_immediately          = var.create_primary.apply_immediately
  copy_tags_to_snapshot      = true
  delete_automated_backups   = false
  deletion_protection        = var.create_primary.deletion_protection
  skip_final_snapshot        = var.create_primary.skip_final_snapshot
  final_snapshot_identifier  = var.create_primary.skip_final_snapshot ? null : "${var.primary_identifier}-final"

  monitoring_interval                   = var.monitoring_interval
  monitoring_role_arn                   = local.monitoring_role_arn
  performance_insights_enabled          = var.performance_insights_enabled
  performance_insights_retention_period = var.performance_insights_enabled ? var.performance_insights_retention_days : null
  enabled_cloudwatch_logs_exports       = local.log_exports

  tags = var.tags

  depends_on = [aws_iam_role_policy_attachment.monitoring]

  lifecycle {
    precondition {
      condition     = var.create_parameter_group || var.parameter_group_name != null
      error_message = "A primary made here needs a parameter group with what Highwater needs: leave create_parameter_group on, or name one in parameter_group_name. RDS's default group refuses connections without TLS since PostgreSQL 15."
    }

    # Storage grows by itself, and minor versions are raised by RDS.
    ignore_changes = [allocated_storage, engine_version]
  }
}

locals {
  makes_primary   = var.create_primary != null
  region          = data.aws_region.current.region
  is_cross_region = var.primary_region != null && var.primary_region != local.region
  primary_region  = local.is_cross_region ? var.primary_region : local.region

  found = one([for it in data.aws_db_instance.primary : {
    source             = local.is_cross_region ? it.db_instance_arn : it.db_instance_identifier
    arn                = it.db_instance_arn
    address            = it.address
    port               = it.port
    availability_zone  = it.availability_zone
    instance_class     = it.db_instance_class
    major              = split(".", it.engine_version)[0]
    security_groups    = toset(it.vpc_security_groups)
    subnet_group       = it.db_subnet_group
    storage_encrypted  = it.storage_encrypted
    kms_key            = it.kms_key_id
    storage_type       = it.storage_type
    allocated_storage  = it.allocated_storage
    max_allocated      = it.max_allocated_storage
    iops               = it.iops
    throughput         = it.storage_throughput
    auto_minor_upgrade = it.auto_minor_version_upgrade
    certificate        = it.ca_cert_identifier
    network_type       = it.network_type
    log_exports        = toset(it.enabled_cloudwatch_logs_exports)
  }])

  made = one([for it in aws_db_instance.primary : {
    source             = it.identifier
    arn                = it.arn
    address            = it.address
    port               = it.port
    availability_zone  = it.availability_zone
    instance_class     = it.instance_class
    major              = split(".", var.create_primary.engine_version)[0]
    security_groups    = toset(it.vpc_security_group_ids)
    subnet_group       = it.db_subnet_group_name
    storage_encrypted  = it.storage_encrypted
    kms_key            = it.kms_key_id
    storage_type       = it.storage_type
    allocated_storage  = it.allocated_storage
    max_allocated      = it.max_allocated_storage
    iops               = it.iops
    throughput         = it.storage_throughput
    auto_minor_upgrade = it.auto_minor_version_upgrade
    certificate        = it.ca_cert_identifier
    network_type       = it.network_type
    log_exports        = toset(it.enabled_cloudwatch_logs_exports)
  }])

  primary = local.makes_primary ? local.made : local.found
  major   = local.makes_primary ? split(".", var.create_primary.engine_version)[0] : local.found.major
}

# A warning, not a refusal: replicas cannot be encrypted when the primary is not.
check "primary_is_encrypted" {
  assert {
    condition     = local.primary.storage_encrypted
    error_message = "${var.primary_identifier} is not encrypted at rest, so its replicas are not either. RDS encrypts no existing instance: restore an encrypted copy of a snapshot and make that the primary."
  }
}
