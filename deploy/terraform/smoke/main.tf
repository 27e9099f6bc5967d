# Replicas of a small primary of its own, with the real provider, on a real account: `./smoke/run`. It costs money, and it has not been
# run by the project; what the gate shows without AWS is in ../README.md.

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

  default_tags {
    tags = { purpose = "highwater-smoke" }
  }
}

variable "region" {
  type        = string
  description = "Region to make everything in."
}

variable "db_subnet_group_name" {
  type        = string
  description = "Subnet group, in two zones at least, of a VPC in that region."
}

variable "security_group_id" {
  type        = string
  description = "Security group of that VPC for the databases; the machine that runs this should be let in, for `highwater check --connect`."
}

variable "primary_password" {
  type        = string
  sensitive   = true
  ephemeral   = true
  description = "Master password for the primary."
}

variable "identifier" {
  type        = string
  default     = "highwater-smoke"
  description = "Identifier of the primary."
}

module "database" {
  source = "../rds-replicas"

  primary_identifier = var.identifier
  primary_password   = var.primary_password
  replica_count      = 1

  # The least that replicates, gone without a trace afterwards.
  create_primary = {
    engine_version         = "16"
    instance_class         = "db.t4g.micro"
    allocated_storage      = 20
    db_subnet_group_name   = var.db_subnet_group_name
    vpc_security_group_ids = [var.security_group_id]
    multi_az               = false
    backup_retention_days  = 1
    deletion_protection    = false
    skip_final_snapshot    = true
    apply_immediately      = true
  }
}

# The same primary again, as one that exists: what the module reads of it has to be what it made.
module "beside" {
  source = "../rds-replicas"
  count  = var.beside ? 1 : 0

  primary_identifier = module.database.primary.name
  replica_count      = 0
  create_alarms      = false
}

variable "beside" {
  type        = bool
  default     = false
  description = "Also reads the primary as one that exists; for the second run, when there is one."
}

output "primary" {
  description = "The primary."
  value       = module.database.primary
}

output "replicas" {
  description = "The replicas."
  value       = module.database.replicas
}

output "alarm_names" {
  description = "The alarms."
  value       = module.database.alarm_names
}

output "highwater_toml" {
  description = "For highwater check."
  value       = module.database.highwater_toml
}
