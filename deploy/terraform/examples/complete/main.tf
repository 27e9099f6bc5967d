# A primary, two replicas of it, and Highwater in front, in a network that exists.
#
#   terraform init && terraform apply
#
# Before: upload the program (`aws s3 cp highwater s3://<bucket>/highwater`), and make two secrets: the monitor's password, and the users
# as lines `"user" "SCRAM verifier"`. After: in the primary, CREATE ROLE highwater LOGIN PASSWORD '<the monitor's>'; GRANT pg_monitor TO highwater;

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

# The master password is read for the moment it is needed, and stored in no state and no plan.
variable "primary_password" {
  type        = string
  sensitive   = true
  ephemeral   = true
  description = "Master password of the primary, such as TF_VAR_primary_password out of your own secret store."
}

variable "region" {
  type        = string
  description = "Region of everything."
}

variable "vpc_id" {
  type        = string
  description = "VPC of everything."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Private subnets for Highwater, in two zones at least."
}

variable "db_subnet_group_name" {
  type        = string
  description = "Subnet group for the databases."
}

variable "availability_zones" {
  type        = list(string)
  description = "Zones of that subnet group."
}

variable "application_security_group_id" {
  type        = string
  description = "Security group of the applications."
}

variable "program" {
  type = object({
    bucket = string
    key    = string
    sha256 = string
  })
  description = "The program in S3."
}

variable "monitor_password_secret_arn" {
  type        = string
  description = "Secret with the monitor's password."
}

variable "users_secret_arn" {
  type        = string
  description = "Secret with the users."
}

resource "aws_sns_topic" "alarms" {
  name = "orders-alarms"
}

resource "aws_security_group" "database" {
  name_prefix = "orders-database-"
  description = "Primary and replicas of orders"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

module "database" {
  source = "../../rds-replicas"

  primary_identifier = "orders"
  primary_password   = var.primary_password
  replica_count      = 2
  availability_zones = var.availability_zones
  alarm_actions      = [aws_sns_topic.alarms.arn]

  create_primary = {
    engine_version         = "16"
    instance_class         = "db.m7g.large"
    allocated_storage      = 100
    max_allocated_storage  = 500
    db_name                = "orders"
    db_subnet_group_name   = var.db_subnet_group_name
    vpc_security_group_ids = [aws_security_group.database.id]
  }

  highwater = {
    databases     = ["orders"]
    max_staleness = "5s"
  }
}

module "highwater" {
  source = "../../highwater"

  name                        = "orders-highwater"
  highwater_toml              = module.database.highwater_toml
  monitor_password_secret_arn = var.monitor_password_secret_arn
  users_secret_arn            = var.users_secret_arn
  program                     = var.program
  vpc_id                      = var.vpc_id
  subnet_ids                  = var.subnet_ids
  client_security_group_ids   = [var.application_security_group_id]
  # Not module.database.security_group_ids: of groups made in the same run Terraform does not know yet how many there are.
  database_security_group_ids = [aws_security_group.database.id]
  alarm_actions               = [aws_sns_topic.alarms.arn]
}

output "host" {
  description = "What applications put in place of the primary's host."
  value       = module.highwater.host
}

output "port" {
  description = "And of its port."
  value       = module.highwater.port
}

output "highwater_toml" {
  description = "What Highwater was told."
  value       = module.database.highwater_toml
}
