output "host" {
  description = "Where clients connect: the load balancer's name."
  value       = aws_lb.this.dns_name
}

output "port" {
  description = "The port they connect to."
  value       = var.port
}

output "security_group_id" {
  description = "Security group of the instances."
  value       = aws_security_group.instance.id
}

output "metrics_port" {
  description = "Port of /metrics, /livez and /readyz on each instance."
  value       = var.http_port
}

output "autoscaling_group_name" {
  description = "Name of the Auto Scaling group, for service discovery of the instances."
  value       = aws_autoscaling_group.this.name
}

output "role_arn" {
  description = "Role of the instances, for policies of buckets, secrets and keys that name who may use them."
  value       = aws_iam_role.instance.arn
}
