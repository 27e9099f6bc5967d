# The module as most will use it: from another module, without a password.

mock_provider "aws" {
  source = "../../rds-replicas/tests/mocks"
}

variables {
  region             = "eu-central-1"
  primary_identifier = "orders"
  alarm_topic_arn    = "arn:aws:sns:eu-central-1:111122223333:on-call"
}

run "two_replicas_and_a_configuration" {
  assert {
    condition     = [for it in output.replicas : it.name] == ["orders-replica-1", "orders-replica-2"]
    error_message = "replicas"
  }
  assert {
    condition     = length(regexall("name = \"orders(-replica-[12])?\", host = ", output.highwater_toml)) == 3
    error_message = output.highwater_toml
  }
  assert {
    condition     = output.parameter_group_name == "orders-highwater-1"
    error_message = "group"
  }
}
