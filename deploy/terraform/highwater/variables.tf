variable "name" {
  type        = string
  default     = "highwater"
  description = "Name of everything made here."

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) <= 24
    error_message = "name must be lower-case letters, digits and single hyphens, begin with a letter and have at most 24 characters: a load balancer's name has 32."
  }
}

variable "highwater_toml" {
  type        = string
  description = "The configuration, such as the output highwater_toml of rds-replicas. It goes into user data, which everybody on the machine and many in the account can read: it must name files for passwords and hold none."

  validation {
    condition     = !can(regex("(?m)^[^#\n]*\\b(password|password_command|verifier)\\s*=", var.highwater_toml))
    error_message = "highwater_toml holds a password, a verifier or a command for one. User data is no place for secrets: use password_file and auth_file below /run/highwater-secrets, which monitor_password_secret_arn and users_secret_arn fill."
  }

  validation {
    condition     = strcontains(var.highwater_toml, ":${var.port}\"")
    error_message = "highwater_toml listens on no port ${var.port}, which is where the load balancer sends clients: make its listen and this module's port the same."
  }

  validation {
    condition     = strcontains(var.highwater_toml, ":${var.http_port}\"")
    error_message = "highwater_toml has no http on port ${var.http_port}, where readiness is asked: make its http and this module's http_port the same."
  }

  validation {
    condition     = !can(regex("(?m)^(listen|http)\\s*=\\s*\"(127[.]|localhost|\\[::1\\])", var.highwater_toml))
    error_message = "highwater_toml listens on loopback, where neither clients nor the load balancer reach it: use \"0.0.0.0:${var.port}\" and \"0.0.0.0:${var.http_port}\"."
  }

  validation {
    condition     = length(var.highwater_toml) <= 20000
    error_message = "highwater_toml is longer than 20000 characters, and user data takes 16 KiB, compressed."
  }
}

variable "monitor_password_secret_arn" {
  type        = string
  description = "Where the monitor's password is: ARN of a Secrets Manager secret or of an SSM parameter (SecureString). Becomes /run/highwater-secrets/monitor.secret."

  validation {
    condition     = can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+|ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+)$", var.monitor_password_secret_arn))
    error_message = "monitor_password_secret_arn must be the ARN of a Secrets Manager secret or of an SSM parameter."
  }
}

variable "users_secret_arn" {
  type        = string
  description = "Where the clients' users are: ARN of a Secrets Manager secret or of an SSM parameter that holds lines \"user\" \"password or SCRAM verifier\". Becomes /run/highwater-secrets/userlist.txt."

  validation {
    condition     = can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+|ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+)$", var.users_secret_arn))
    error_message = "users_secret_arn must be the ARN of a Secrets Manager secret or of an SSM parameter."
  }
}

variable "secrets_kms_key_arn" {
  type        = string
  default     = null
  description = "KMS key of those secrets, when it is one of your own."

  validation {
    condition     = var.secrets_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:", var.secrets_kms_key_arn))
    error_message = "secrets_kms_key_arn must be the ARN of a key, or be left out for the keys of AWS."
  }
}

variable "program" {
  type = object({
    bucket = string
    key    = string
    sha256 = string
  })
  description = "The highwater program, for the instances' processor, as an object in S3, and its SHA-256: an instance runs nothing else."

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.program.sha256))
    error_message = "program.sha256 must be 64 lower-case hexadecimal digits: sha256sum highwater."
  }

  validation {
    condition     = can(regex("^[a-z0-9.-]{3,63}$", var.program.bucket)) && can(regex("^[A-Za-z0-9!_.*()/-]+$", var.program.key))
    error_message = "program must name a bucket and, without a leading s3://, an object in it whose key has letters, digits and !_.*()/- only."
  }
}

variable "vpc_id" {
  type        = string
  description = "VPC of the instances, the load balancer and the databases."

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id must be the id of a VPC, vpc-…."
  }
}

variable "subnet_ids" {
  type        = list(string)
  description = "Private subnets, in two zones at least. They need a way to S3, Secrets Manager or SSM, and Auto Scaling: endpoints in the VPC, or NAT."

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2 && alltrue([for id in var.subnet_ids : startswith(id, "subnet-")])
    error_message = "subnet_ids must be two or more ids of subnets, subnet-…: with one, its zone is all there is."
  }
}

variable "port" {
  type        = number
  default     = 6432
  description = "Where clients connect."

  validation {
    condition     = var.port >= 1024 && var.port <= 65535
    error_message = "port must be from 1024 to 65535: Highwater runs without privileges."
  }
}

variable "http_port" {
  type        = number
  default     = 6433
  description = "Where readiness and metrics are asked."

  validation {
    condition     = var.http_port >= 1024 && var.http_port <= 65535 && var.http_port != var.port
    error_message = "http_port must be from 1024 to 65535, and not port."
  }
}

variable "client_security_group_ids" {
  type        = list(string)
  default     = []
  description = "Security groups whose members may connect."
}

variable "client_cidr_blocks" {
  type        = list(string)
  default     = []
  description = "Networks from which clients may connect."

  validation {
    condition     = alltrue([for block in var.client_cidr_blocks : can(cidrhost(block, 0)) && block != "0.0.0.0/0"])
    error_message = "client_cidr_blocks must be networks such as \"10.0.0.0/16\", and not the whole world: Highwater's clients speak no TLS."
  }

  validation {
    condition     = length(var.client_cidr_blocks) + length(var.client_security_group_ids) > 0
    error_message = "Nobody could connect: give client_security_group_ids or client_cidr_blocks."
  }
}

variable "metrics_security_group_ids" {
  type        = list(string)
  default     = []
  description = "Security groups whose members (Prometheus) may ask for metrics."
}

variable "database_security_group_ids" {
  type        = list(string)
  description = "Security groups of the databases, such as the output security_group_ids of rds-replicas. Each gets a rule that lets Highwater in."

  validation {
    condition     = length(var.database_security_group_ids) > 0 && alltrue([for id in var.database_security_group_ids : startswith(id, "sg-")])
    error_message = "database_security_group_ids must name the databases' security groups, sg-…: Highwater would not reach them."
  }
}

variable "database_port" {
  type        = number
  default     = 5432
  description = "Port of the databases."

  validation {
    condition     = var.database_port >= 1150 && var.database_port <= 65535
    error_message = "database_port must be from 1150 to 65535, as RDS has it."
  }
}

variable "architecture" {
  type        = string
  default     = "x86_64"
  description = "Processor of the instances and of the program: \"x86_64\" or \"arm64\"."

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be \"x86_64\" or \"arm64\"."
  }
}

variable "instance_type" {
  type        = string
  default     = null
  description = "Type of the instances; c7i.large or, for arm64, c7g.large when left out."
}

variable "ami_id" {
  type        = string
  default     = null
  description = "Image with systemd, cloud-init and the AWS command line; the newest Amazon Linux 2023 when left out."

  validation {
    condition     = var.ami_id == null || startswith(coalesce(var.ami_id, "x"), "ami-")
    error_message = "ami_id must be the id of an image, ami-…, or be left out."
  }
}

variable "instances" {
  type = object({
    min = optional(number, 2)
    max = optional(number, 4)
  })
  default     = {}
  description = "How many instances. Each has its own pools: the databases see instances × default_pool_size connections for each user and database."

  validation {
    condition     = var.instances.min >= 1 && var.instances.max >= var.instances.min
    error_message = "instances.min must be 1 or more, and max not below it."
  }
}

variable "idle_seconds_max" {
  type        = number
  default     = 6000
  description = "The load balancer forgets a connection idle for longer, without telling either side."

  validation {
    condition     = var.idle_seconds_max >= 60 && var.idle_seconds_max <= 6000
    error_message = "idle_seconds_max must be from 60 to 6000 seconds."
  }
}

variable "drain_seconds" {
  type        = number
  default     = 60
  description = "How long an instance that leaves goes on serving the clients it has."

  validation {
    condition     = var.drain_seconds >= 0 && var.drain_seconds <= 3600
    error_message = "drain_seconds must be from 0 to 3600."
  }
}

variable "session_manager" {
  type        = bool
  default     = true
  description = "Lets people with the right to do so open a shell by Systems Manager. There is no SSH."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = null
  description = "Permissions boundary of the instances' role."
}

variable "alarm_actions" {
  type        = list(string)
  default     = []
  description = "ARNs of what happens when fewer instances than instances.min are ready."

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "alarm_actions must be ARNs, such as that of an SNS topic."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of everything made here."
}
