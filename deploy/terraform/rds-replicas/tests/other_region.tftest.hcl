# Replicas in another region than their primary: nothing of its network or key exists there.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  primary_identifier     = "orders"
  primary_password       = "unused" # Terraform 1.11 wants ephemeral variables of a tested module set.
  primary_region         = "us-east-1"
  replica_count          = 2
  vpc_security_group_ids = ["sg-0dddddddddddddddd"]
  db_subnet_group_name   = "private-eu"
  kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000002"
}

override_data {
  target = data.aws_db_instance.primary[0]
  values = {
    db_instance_identifier          = "orders"
    db_instance_arn                 = "arn:aws:rds:us-east-1:111122223333:db:orders"
    address                         = "orders.abcdefgh1234.us-east-1.rds.amazonaws.com"
    port                            = 5432
    engine                          = "postgres"
    engine_version                  = "16.4"
    db_instance_class               = "db.m7g.xlarge"
    db_cluster_identifier           = ""
    replicate_source_db             = ""
    availability_zone               = "us-east-1a"
    vpc_security_groups             = ["sg-0aaaaaaaaaaaaaaaa", "sg-0bbbbbbbbbbbbbbbb"]
    db_subnet_group                 = "private"
    db_parameter_groups             = ["orders-pg16"]
    storage_encrypted               = true
    kms_key_id                      = "arn:aws:kms:us-east-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000009"
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

run "what_a_region_has_is_given" {
  assert {
    condition     = data.aws_db_instance.primary[0].region == "us-east-1"
    error_message = "the primary is read where it is"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.replicate_source_db == "arn:aws:rds:us-east-1:111122223333:db:orders"])
    error_message = "from another region the source is named by its ARN"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.kms_key_id == "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000002" && it.storage_encrypted])
    error_message = "key of the region"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.db_subnet_group_name == "private-eu" && toset(it.vpc_security_group_ids) == toset(["sg-0dddddddddddddddd"])])
    error_message = "network of the region"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.instance_class == "db.m7g.xlarge" && it.parameter_group_name == aws_db_parameter_group.highwater[0].name])
    error_message = "class of the primary, group of the region"
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.instance) == 2 * 5 && length(aws_cloudwatch_metric_alarm.slot_lag) == 0 && alltrue([for it in aws_cloudwatch_metric_alarm.replica_lag : it.metric_name == "ReplicaLag" && it.treat_missing_data == "breaching"])
    error_message = "alarms watch metrics of their own region only"
  }
  assert {
    condition     = output.highwater_nodes[0].host == "orders.abcdefgh1234.us-east-1.rds.amazonaws.com"
    error_message = "the primary is a node all the same"
  }
}
