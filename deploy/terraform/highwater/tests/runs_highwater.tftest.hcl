# Highwater itself: instances, load balancer, role.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  highwater_toml              = <<-TOML
    listen    = "0.0.0.0:6432"
    http      = "0.0.0.0:6433"
    auth_file = "/run/highwater-secrets/userlist.txt"

    [[cluster]]
    name    = "main"
    nodes   = ["10.0.0.1:5432", "10.0.0.2:5432"]
    monitor = { user = "highwater", password_file = "/run/highwater-secrets/monitor.secret" }
  TOML
  monitor_password_secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:highwater/monitor-AbCdEf"
  users_secret_arn            = "arn:aws:ssm:eu-central-1:111122223333:parameter/highwater/users"
  program = {
    bucket = "artifacts"
    key    = "highwater/1.0.0/x86_64/highwater"
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
  vpc_id                      = "vpc-0123456789abcdef0"
  subnet_ids                  = ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"]
  client_security_group_ids   = ["sg-0111111111111111a"]
  metrics_security_group_ids  = ["sg-0333333333333333a"]
  database_security_group_ids = ["sg-0222222222222222a", "sg-0222222222222222b"]
}

run "clients_reach_only_what_is_ready" {
  assert {
    condition     = aws_lb.this.internal && aws_lb.this.load_balancer_type == "network" && length(aws_lb.this.security_groups) == 1
    error_message = "an inner load balancer with a security group of its own"
  }
  assert {
    condition     = aws_lb_listener.this.port == 6432 && aws_lb_listener.this.protocol == "TCP" && aws_lb_listener.this.tcp_idle_timeout_seconds == 6000
    error_message = "listener"
  }
  assert {
    condition     = one(aws_lb_target_group.this.health_check).path == "/readyz" && one(aws_lb_target_group.this.health_check).port == "6433" && one(aws_lb_target_group.this.health_check).protocol == "HTTP"
    error_message = "readiness"
  }
  assert {
    condition     = aws_lb_target_group.this.port == 6432 && aws_autoscaling_group.this.target_group_arns == toset([aws_lb_target_group.this.arn])
    error_message = "instances are targets"
  }
  assert {
    condition     = output.host == "highwater-1.elb.eu-central-1.amazonaws.com" && output.port == 6432 && output.metrics_port == 6433 && output.autoscaling_group_name == "highwater"
    error_message = "outputs"
  }
}

run "a_failover_of_the_database_replaces_no_instance" {
  command = plan

  assert {
    condition     = aws_autoscaling_group.this.health_check_type == "EC2"
    error_message = "readiness steers clients; it does not kill instances"
  }
  assert {
    condition     = one(aws_autoscaling_group.this.initial_lifecycle_hook).default_result == "ABANDON" && one(one(aws_autoscaling_group.this.instance_refresh).preferences).min_healthy_percentage == 100
    error_message = "what never gets ready takes nobody's place"
  }
  assert {
    condition     = aws_autoscaling_group.this.min_size == 2 && aws_autoscaling_group.this.max_size == 4 && length(aws_autoscaling_group.this.vpc_zone_identifier) == 2
    error_message = "two instances in two zones"
  }
}

run "ports_are_open_to_those_who_need_them" {
  assert {
    condition     = aws_vpc_security_group_egress_rule.aws.from_port == 443 && aws_vpc_security_group_egress_rule.aws.to_port == 443 && aws_vpc_security_group_egress_rule.aws.ip_protocol == "tcp"
    error_message = "to addresses that nobody knows, instances speak HTTPS and nothing else"
  }
  assert {
    condition     = { for key, it in aws_vpc_security_group_ingress_rule.balancer : key => it.from_port } == { clients = 6432, readiness = 6433 } && alltrue([for it in aws_vpc_security_group_ingress_rule.balancer : it.security_group_id == aws_security_group.instance.id && it.referenced_security_group_id == aws_security_group.balancer.id && it.from_port == it.to_port && it.ip_protocol == "tcp"])
    error_message = "instances take clients and questions from the balancer"
  }
  assert {
    condition     = [for it in aws_vpc_security_group_ingress_rule.client_group : "${it.referenced_security_group_id} ${it.from_port}"] == ["sg-0111111111111111a 6432"] && length(aws_vpc_security_group_ingress_rule.client_network) == 0
    error_message = "the balancer takes clients"
  }
  assert {
    condition     = [for it in aws_vpc_security_group_ingress_rule.metrics : "${it.referenced_security_group_id} ${it.from_port}"] == ["sg-0333333333333333a 6433"]
    error_message = "metrics"
  }
  assert {
    condition     = [for it in aws_vpc_security_group_ingress_rule.database : it.security_group_id] == ["sg-0222222222222222a", "sg-0222222222222222b"] && alltrue([for it in aws_vpc_security_group_ingress_rule.database : it.referenced_security_group_id == aws_security_group.instance.id && it.from_port == 5432 && it.to_port == 5432])
    error_message = "each group of the databases lets the instances in"
  }
  assert {
    condition     = alltrue([for it in aws_vpc_security_group_egress_rule.database : it.security_group_id == aws_security_group.instance.id && it.from_port == 5432 && it.cidr_ipv4 == null])
    error_message = "instances go to the databases"
  }
}

run "instances_are_closed" {
  command = plan

  assert {
    condition     = one(aws_launch_template.this.metadata_options).http_tokens == "required" && one(aws_launch_template.this.metadata_options).http_put_response_hop_limit == 1
    error_message = "credentials only with a token"
  }
  assert {
    condition     = one(one(aws_launch_template.this.block_device_mappings).ebs).encrypted == "true" && one(aws_launch_template.this.network_interfaces).associate_public_ip_address == "false"
    error_message = "encrypted disks, no public address"
  }
  assert {
    condition     = aws_launch_template.this.key_name == null && aws_launch_template.this.image_id == "ami-0123456789abcdef0" && aws_launch_template.this.instance_type == "c7i.large"
    error_message = "no SSH key; image and type"
  }
}

run "the_role_can_do_four_things" {
  command = plan

  assert {
    condition = { for it in local.statements : it.Sid => "${join(",", it.Action)} ${join(",", it.Resource)}" } == {
      Program        = "s3:GetObject arn:aws:s3:::artifacts/highwater/1.0.0/x86_64/highwater"
      Ready          = "autoscaling:CompleteLifecycleAction arn:aws:autoscaling:eu-central-1:111122223333:autoScalingGroup:*:autoScalingGroupName/highwater"
      Secretsmanager = "secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-central-1:111122223333:secret:highwater/monitor-AbCdEf"
      Ssm            = "ssm:GetParameter arn:aws:ssm:eu-central-1:111122223333:parameter/highwater/users"
    }
    error_message = jsonencode(local.statements)
  }
  assert {
    condition     = jsondecode(aws_iam_role.instance.assume_role_policy).Statement[0].Principal.Service == "ec2.amazonaws.com"
    error_message = "only EC2 may take it"
  }
  assert {
    condition     = alltrue([for it in local.statements : it.Effect == "Allow" && !contains(it.Resource, "*")])
    error_message = "nothing on everything"
  }
}

run "a_key_of_ones_own_may_be_used" {
  command = plan

  variables {
    secrets_kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1"
    session_manager     = false
  }

  assert {
    condition     = one([for it in local.statements : it.Resource[0] if it.Sid == "Decrypt"]) == "arn:aws:kms:eu-central-1:111122223333:key/1" && length(aws_iam_role_policy_attachment.session_manager) == 0
    error_message = "decrypt"
  }
}

run "arm_on_request" {
  command = plan

  variables {
    architecture = "arm64"
  }

  assert {
    condition     = aws_launch_template.this.instance_type == "c7g.large" && data.aws_ssm_parameter.image[0].name == "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    error_message = "type and image"
  }
}

run "user_data_holds_names_of_secrets_and_no_secrets" {
  command = plan

  assert {
    condition     = [for it in yamldecode(local.cloud_config).write_files : it.content if it.path == "/etc/highwater/highwater.toml"] == [var.highwater_toml]
    error_message = "the configuration as given"
  }
  assert {
    condition     = strcontains(local.cloud_config, "put 'monitor.secret' 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:highwater/monitor-AbCdEf'") && strcontains(local.cloud_config, "put 'userlist.txt' 'arn:aws:ssm:eu-central-1:111122223333:parameter/highwater/users'")
    error_message = "secrets are fetched by name"
  }
  assert {
    condition     = strcontains(local.cloud_config, "echo 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  '\"$half\" | sha256sum --check --quiet")
    error_message = "the program is what was named"
  }
}

run "too_few_ready_instances_alarm" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.ready.threshold == 2 && aws_cloudwatch_metric_alarm.ready.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.ready.dimensions["TargetGroup"] == "targetgroup/highwa/2"
    error_message = "alarm"
  }
}
