# Primaries that differ from the usual one in something. Terraform takes an override whole, so each says everything.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  primary_identifier = "orders"
  primary_password   = "unused" # Terraform 1.11 wants ephemeral variables of a tested module set.
  replica_count      = 3
}

run "made_beside_a_primary_in_zone_a" {
  variables {
    availability_zones = ["eu-central-1b", "eu-central-1c"]
  }

  assert {
    condition     = aws_db_instance.replica["1"].availability_zone == "eu-central-1b"
    error_message = "replica 1 is put into the first zone"
  }
}

run "a_failover_of_the_primary_moves_no_replica" {
  command = plan

  variables {
    availability_zones = ["eu-central-1b", "eu-central-1c"]
  }

  override_data {
    target = data.aws_db_instance.primary[0]
    values = {
      db_instance_identifier          = "orders"
      db_instance_arn                 = "arn:aws:rds:eu-central-1:111122223333:db:orders"
      address                         = "orders.abcdefgh1234.eu-central-1.rds.amazonaws.com"
      port                            = 5432
      engine                          = "postgres"
      engine_version                  = "16.4"
      db_instance_class               = "db.m7g.xlarge"
      db_cluster_identifier           = ""
      replicate_source_db             = ""
      availability_zone               = "eu-central-1b"
      vpc_security_groups             = ["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"]
      db_subnet_group                 = "private"
      db_parameter_groups             = ["orders-pg16"]
      storage_encrypted               = true
      kms_key_id                      = "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000001"
      storage_type                    = "gp3"
      allocated_storage               = 500
      max_allocated_storage           = 1000
      iops                            = 12000
      storage_throughput              = 500
      backup_retention_period         = 7
      auto_minor_version_upgrade      = false
      ca_cert_identifier              = "rds-ca-rsa4096-g1"
      network_type                    = "IPV4"
      enabled_cloudwatch_logs_exports = ["postgresql"]
      master_user_secret              = []
      multi_az                        = true
      publicly_accessible             = false
    }
  }

  assert {
    condition     = local.zone["1"] == "eu-central-1c" && aws_db_instance.replica["1"].availability_zone == "eu-central-1b"
    error_message = "replica 1 stays in the zone it was made in"
  }
}

run "small_gp3_volumes_take_no_iops" {
  command = plan

  override_data {
    target = data.aws_db_instance.primary[0]
    values = {
      db_instance_identifier          = "orders"
      db_instance_arn                 = "arn:aws:rds:eu-central-1:111122223333:db:orders"
      address                         = "orders.abcdefgh1234.eu-central-1.rds.amazonaws.com"
      port                            = 5432
      engine                          = "postgres"
      engine_version                  = "16.4"
      db_instance_class               = "db.m7g.xlarge"
      db_cluster_identifier           = ""
      replicate_source_db             = ""
      availability_zone               = "eu-central-1a"
      vpc_security_groups             = ["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"]
      db_subnet_group                 = "private"
      db_parameter_groups             = ["orders-pg16"]
      storage_encrypted               = true
      kms_key_id                      = "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000001"
      storage_type                    = "gp3"
      allocated_storage               = 100
      max_allocated_storage           = 0
      iops                            = 3000
      storage_throughput              = 125
      backup_retention_period         = 7
      auto_minor_version_upgrade      = false
      ca_cert_identifier              = "rds-ca-rsa4096-g1"
      network_type                    = "IPV4"
      enabled_cloudwatch_logs_exports = ["postgresql"]
      master_user_secret              = []
      multi_az                        = true
      publicly_accessible             = false
    }
  }

  # Unknown means not given; what is applied above is of no interest here.
  assert {
    condition     = !local.has_iops && !local.has_throughput && alltrue([for it in aws_db_instance.replica : it.max_allocated_storage == null])
    error_message = "IOPS and throughput of gp3 below 400 GiB are fixed, and storage that does not grow has no limit"
  }
}

run "an_unencrypted_primary_is_warned_of" {
  command = plan

  override_data {
    target = data.aws_db_instance.primary[0]
    values = {
      db_instance_identifier          = "orders"
      db_instance_arn                 = "arn:aws:rds:eu-central-1:111122223333:db:orders"
      address                         = "orders.abcdefgh1234.eu-central-1.rds.amazonaws.com"
      port                            = 5432
      engine                          = "postgres"
      engine_version                  = "16.4"
      db_instance_class               = "db.m7g.xlarge"
      db_cluster_identifier           = ""
      replicate_source_db             = ""
      availability_zone               = "eu-central-1a"
      vpc_security_groups             = ["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"]
      db_subnet_group                 = "private"
      db_parameter_groups             = ["orders-pg16"]
      storage_encrypted               = false
      kms_key_id                      = ""
      storage_type                    = "gp3"
      allocated_storage               = 500
      max_allocated_storage           = 1000
      iops                            = 12000
      storage_throughput              = 500
      backup_retention_period         = 7
      auto_minor_version_upgrade      = false
      ca_cert_identifier              = "rds-ca-rsa4096-g1"
      network_type                    = "IPV4"
      enabled_cloudwatch_logs_exports = ["postgresql"]
      master_user_secret              = []
      multi_az                        = true
      publicly_accessible             = false
    }
  }

  expect_failures = [check.primary_is_encrypted]
}

run "an_unencrypted_primary_has_unencrypted_replicas" {
  command = plan

  # Not what is made above: a change of encryption makes another instance.
  variables {
    primary_identifier = "billing"
  }

  override_data {
    target = data.aws_db_instance.primary[0]
    values = {
      db_instance_identifier          = "orders"
      db_instance_arn                 = "arn:aws:rds:eu-central-1:111122223333:db:orders"
      address                         = "orders.abcdefgh1234.eu-central-1.rds.amazonaws.com"
      port                            = 5432
      engine                          = "postgres"
      engine_version                  = "16.4"
      db_instance_class               = "db.m7g.xlarge"
      db_cluster_identifier           = ""
      replicate_source_db             = ""
      availability_zone               = "eu-central-1a"
      vpc_security_groups             = ["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"]
      db_subnet_group                 = "private"
      db_parameter_groups             = ["orders-pg16"]
      storage_encrypted               = false
      kms_key_id                      = ""
      storage_type                    = "gp3"
      allocated_storage               = 500
      max_allocated_storage           = 1000
      iops                            = 12000
      storage_throughput              = 500
      backup_retention_period         = 7
      auto_minor_version_upgrade      = false
      ca_cert_identifier              = "rds-ca-rsa4096-g1"
      network_type                    = "IPV4"
      enabled_cloudwatch_logs_exports = ["postgresql"]
      master_user_secret              = []
      multi_az                        = true
      publicly_accessible             = false
    }
  }

  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.storage_encrypted == false])
    error_message = "RDS encrypts no replica of an unencrypted instance"
  }

  expect_failures = [check.primary_is_encrypted]
}
