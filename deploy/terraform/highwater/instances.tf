data "aws_ssm_parameter" "image" {
  count = var.ami_id == null ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

locals {
  # An image's id is no secret.
  image         = var.ami_id != null ? var.ami_id : nonsensitive(data.aws_ssm_parameter.image[0].value)
  instance_type = coalesce(var.instance_type, var.architecture == "arm64" ? "c7g.large" : "c7i.large")

  hook = "ready"

  secrets = {
    "monitor.secret" = var.monitor_password_secret_arn
    "userlist.txt"   = var.users_secret_arn
  }

  files = [
    { path = "/etc/highwater/highwater.toml", permissions = "0644", content = var.highwater_toml },
    { path = "/etc/systemd/system/highwater.service", permissions = "0644", content = file("${path.module}/../../systemd/highwater.service") },
    { path = "/etc/systemd/system/highwater.service.d/aws.conf", permissions = "0644", content = file("${path.module}/files/aws.conf") },
    { path = "/etc/systemd/system/highwater-secrets.service", permissions = "0644", content = file("${path.module}/files/highwater-secrets.service") },
    { path = "/usr/local/libexec/highwater-secrets", permissions = "0755", content = templatefile("${path.module}/templates/secrets.sh.tftpl", {
      region  = data.aws_region.current.region
      secrets = local.secrets
    }) },
    { path = "/usr/local/libexec/highwater-install", permissions = "0755", content = templatefile("${path.module}/templates/install.sh.tftpl", {
      region    = data.aws_region.current.region
      program   = var.program
      group     = var.name
      hook      = local.hook
      http_port = var.http_port
    }) },
  ]

  cloud_config = "#cloud-config\n${yamlencode({
    users = ["default", { name = "highwater", system = true, shell = "/usr/sbin/nologin", no_create_home = true }]
    write_files = [for it in local.files : {
      path        = it.path
      permissions = it.permissions
      owner       = "root:root"
      content     = it.content
    }]
    runcmd = [["/usr/local/libexec/highwater-install"]]
  })}"
}

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  description            = "Instances of ${var.name}"
  image_id               = local.image
  instance_type          = local.instance_type
  user_data              = base64gzip(local.cloud_config)
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  # Only with a token, and only from the machine itself: what can make an instance send a request cannot take its role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  network_interfaces {
    associate_public_ip_address = "false"
    delete_on_termination       = "true"
    security_groups             = [aws_security_group.instance.id]
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      encrypted             = "true"
      delete_on_termination = "true"
      volume_type           = "gp3"
    }
  }

  monitoring {
    enabled = true
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume", "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = merge({ Name = var.name }, var.tags)
    }
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = length(base64gzip(local.cloud_config)) <= 21844
      error_message = "The instances' user data would be longer than the 16 KiB that EC2 takes: shorten highwater_toml."
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = var.instances.min
  max_size            = var.instances.max
  vpc_zone_identifier = var.subnet_ids
  target_group_arns   = [aws_lb_target_group.this.arn]

  # Not "ELB": while a database fails over no router is ready, and replacing them all would make it worse. The load balancer only
  # sends clients to ready ones; systemd restarts the program.
  health_check_type         = "EC2"
  health_check_grace_period = 60
  default_instance_warmup   = 30
  wait_for_capacity_timeout = "0"

  launch_template {
    id      = aws_launch_template.this.id
    version = tostring(aws_launch_template.this.latest_version)
  }

  # An instance that is not ready within ten minutes is given up, so that a bad configuration or program never takes the place of a good one.
  initial_lifecycle_hook {
    name                 = local.hook
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    default_result       = "ABANDON"
    heartbeat_timeout    = 600
  }

  # A changed configuration or program: another instance first, then one leaves.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 150
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = merge({ Name = var.name }, var.tags)

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  depends_on = [
    aws_iam_role_policy.instance,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.database,
    aws_vpc_security_group_ingress_rule.database,
  ]
}
