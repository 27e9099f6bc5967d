# Who may talk to whom: clients → load balancer → instances → databases, and nothing else.

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  description = "Load balancer of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "instance" {
  name_prefix = "${var.name}-"
  description = "Instances of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "client_group" {
  count = length(var.client_security_group_ids)

  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = var.client_security_group_ids[count.index]
  description                  = "clients"
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "client_network" {
  for_each = toset(var.client_cidr_blocks)

  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = each.value
  description       = "clients"
  ip_protocol       = "tcp"
  from_port         = var.port
  to_port           = var.port
  tags              = var.tags
}

locals {
  # Clients, and the balancer's question whether an instance is ready.
  balanced = { clients = var.port, readiness = var.http_port }
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  for_each = local.balanced

  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = aws_security_group.instance.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each = local.balanced

  security_group_id            = aws_security_group.instance.id
  referenced_security_group_id = aws_security_group.balancer.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  count = length(var.metrics_security_group_ids)

  security_group_id            = aws_security_group.instance.id
  referenced_security_group_id = var.metrics_security_group_ids[count.index]
  description                  = "metrics"
  ip_protocol                  = "tcp"
  from_port                    = var.http_port
  to_port                      = var.http_port
  tags                         = var.tags
}

# By number: the groups may be made in the same run, when their ids are not known yet but how many there are is.
resource "aws_vpc_security_group_egress_rule" "database" {
  count = length(var.database_security_group_ids)

  security_group_id            = aws_security_group.instance.id
  referenced_security_group_id = var.database_security_group_ids[count.index]
  description                  = "databases"
  ip_protocol                  = "tcp"
  from_port                    = var.database_port
  to_port                      = var.database_port
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count = length(var.database_security_group_ids)

  security_group_id            = var.database_security_group_ids[count.index]
  referenced_security_group_id = aws_security_group.instance.id
  description                  = var.name
  ip_protocol                  = "tcp"
  from_port                    = var.database_port
  to_port                      = var.database_port
  tags                         = var.tags
}

# The program, the secrets, and word that the instance is ready: AWS's own endpoints, whose addresses are not known here.
resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.instance.id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "endpoints of AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

resource "aws_lb" "this" {
  name               = var.name
  internal           = true
  load_balancer_type = "network"
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.balancer.id]

  enable_cross_zone_load_balancing = true

  tags = var.tags
}

resource "aws_lb_target_group" "this" {
  name_prefix          = substr(var.name, 0, 6)
  port                 = var.port
  protocol             = "TCP"
  target_type          = "instance"
  vpc_id               = var.vpc_id
  deregistration_delay = var.drain_seconds

  # Ready is more than alive: configured as it says, with a primary it knows or, where that suffices, replicas.
  health_check {
    protocol            = "HTTP"
    path                = "/readyz"
    port                = tostring(var.http_port)
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn        = aws_lb.this.arn
  port                     = var.port
  protocol                 = "TCP"
  tcp_idle_timeout_seconds = var.idle_seconds_max

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }

  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "ready" {
  alarm_name          = "${var.name}-ready"
  alarm_description   = "Fewer than ${var.instances.min} instances of ${var.name} have been ready for three minutes."
  namespace           = "AWS/NetworkELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.this.arn_suffix }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  comparison_operator = "LessThanThreshold"
  threshold           = var.instances.min
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
