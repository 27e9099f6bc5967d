# Both modules together, from nothing: first a plan, in which no address is known, then all of it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region                        = "eu-central-1"
  primary_password              = "only-in-this-test"
  vpc_id                        = "vpc-0123456789abcdef0"
  subnet_ids                    = ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"]
  db_subnet_group_name          = "private"
  availability_zones            = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  application_security_group_id = "sg-0111111111111111a"
  monitor_password_secret_arn   = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:highwater/monitor-AbCdEf"
  users_secret_arn              = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:highwater/users-AbCdEf"
  program = {
    bucket = "artifacts"
    key    = "highwater"
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
}

run "can_be_planned_before_anything_is_there" {
  command = plan

  assert {
    condition     = output.port == 6432
    error_message = "port"
  }
}

run "highwater_gets_the_nodes_that_were_made" {
  assert {
    condition     = output.host == "highwater-1.elb.eu-central-1.amazonaws.com"
    error_message = "host"
  }
  assert {
    condition     = length(regexall("name = \"orders(-replica-[12])?\", host = ", output.highwater_toml)) == 3 && strcontains(output.highwater_toml, "name    = \"orders\"") && strcontains(output.highwater_toml, "max_staleness = \"5s\"")
    error_message = output.highwater_toml
  }
  assert {
    condition     = !strcontains(output.highwater_toml, "only-in-this-test")
    error_message = "no password"
  }
}
