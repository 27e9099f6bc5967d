# Two replicas beside a primary that exists, and a configuration for Highwater, wherever it runs.

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

variable "region" {
  type        = string
  description = "Region of the primary and of the replicas."
}

variable "primary_identifier" {
  type        = string
  description = "Identifier of the primary. It is read, never changed."
}

variable "alarm_topic_arn" {
  type        = string
  description = "SNS topic for alarms."
}

module "database" {
  source = "../../rds-replicas"

  primary_identifier = var.primary_identifier
  replica_count      = 2
  alarm_actions      = [var.alarm_topic_arn]
}

output "replicas" {
  description = "The replicas."
  value       = module.database.replicas
}

output "highwater_toml" {
  description = "terraform output -raw highwater_toml > highwater.toml"
  value       = module.database.highwater_toml
}

output "parameter_group_name" {
  description = "What to give to the primary too: it needs rds.force_ssl = 0, and has its queries counted then."
  value       = module.database.parameter_group_name
}
