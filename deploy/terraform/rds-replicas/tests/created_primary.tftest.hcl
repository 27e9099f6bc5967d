# Primary and replicas from nothing.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  primary_identifier = "orders"
  primary_password   = "only-in-this-test"
  replica_count      = 2

  create_primary = {
    engine_version         = "16"
    instance_class         = "db.r7g.large"
    allocated_storage      = 500
    max_allocated_storage  = 1000
    storage_throughput     = 250
    iops                   = 13000
    db_name                = "orders"
    db_subnet_group_name   = "private"
    vpc_security_group_ids = ["sg-0cccccccccccccccc"]
    kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000001"
  }
}

run "primary_can_have_replicas" {
  command = plan

  assert {
    condition     = aws_db_instance.primary[0].backup_retention_period == 7 && aws_db_instance.primary[0].engine == "postgres" && aws_db_instance.primary[0].storage_encrypted
    error_message = "backups, engine, encryption"
  }
  assert {
    condition     = aws_db_instance.primary[0].deletion_protection && !aws_db_instance.primary[0].skip_final_snapshot && aws_db_instance.primary[0].final_snapshot_identifier == "orders-final" && !aws_db_instance.primary[0].apply_immediately && !aws_db_instance.primary[0].delete_automated_backups
    error_message = "a primary is not lost by accident"
  }
  assert {
    condition     = length(data.aws_db_instance.primary) == 0
    error_message = "nothing is read that is not there yet"
  }
  assert {
    condition     = aws_db_parameter_group.highwater[0].family == "postgres16"
    error_message = "family"
  }
}

run "replica_is_as_its_primary" {
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.instance_class == aws_db_instance.primary[0].instance_class && it.instance_class == "db.r7g.large"])
    error_message = "class"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : toset(it.vpc_security_group_ids) == toset(["sg-0cccccccccccccccc"])])
    error_message = "security groups"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.storage_encrypted && it.kms_key_id == aws_db_instance.primary[0].kms_key_id])
    error_message = "encryption and key"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.replicate_source_db == "orders" && it.db_subnet_group_name == "private" && it.parameter_group_name == aws_db_instance.primary[0].parameter_group_name])
    error_message = "source, subnet group, parameter group"
  }
  assert {
    condition     = alltrue([for it in aws_db_instance.replica : it.storage_type == "gp3" && it.iops == 13000 && it.storage_throughput == 250 && it.max_allocated_storage == 1000])
    error_message = "storage"
  }
  assert {
    condition     = aws_db_instance.primary[0].password_wo == null && aws_db_instance.primary[0].password == null
    error_message = "the password is written, never kept"
  }
  assert {
    condition     = length(output.highwater_nodes) == 3 && strcontains(output.highwater_toml, "name = \"orders\"") && !strcontains(output.highwater_toml, "only-in-this-test")
    error_message = "outputs"
  }
  assert {
    condition     = length(output.alarm_names) == 2 + 3 * 5 + 1
    error_message = "alarms of both"
  }
}
