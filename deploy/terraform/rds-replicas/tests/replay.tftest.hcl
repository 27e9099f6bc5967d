# Nothing is asserted here: check/replay.py takes these plans, asks a fake AWS for the same, and reads back what came of it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  primary_identifier = "orders"
  primary_password   = "only-in-this-test"
  replica_count      = 2
}

run "beside_an_existing_primary" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1b"]
    alarm_actions      = ["arn:aws:sns:eu-central-1:111122223333:on-call"]
    tags               = { service = "orders" }
  }
}

run "primary_and_replicas" {
  command = plan

  variables {
    lag_alarm_when_idle = true

    create_primary = {
      engine_version         = "16.4"
      instance_class         = "db.r7g.large"
      allocated_storage      = 100
      db_subnet_group_name   = "private"
      vpc_security_group_ids = ["sg-0cccccccccccccccc"]
      kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1f0e2d3c-0000-4000-8000-000000000001"
    }
  }
}
