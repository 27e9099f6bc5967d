# ---- The primary: one that exists, or one to make ----

variable "primary_identifier" {
  type        = string
  description = "Identifier of the RDS instance that is the primary: of one that exists, or, with create_primary, of the one to make."

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.primary_identifier)) && length(var.primary_identifier) <= 52
    error_message = "primary_identifier must be lower-case letters, digits and single hyphens, begin with a letter and have at most 52 characters: RDS takes 63, and replicas are named after it (\"-replica-15\")."
  }
}

variable "primary_region" {
  type        = string
  default     = null
  description = "Region of the primary when that is not the provider's region, where the replicas come to be. RDS then inherits nothing of the primary's network, key or parameter group: give vpc_security_group_ids, db_subnet_group_name and, for an encrypted primary, kms_key_arn."

  validation {
    condition     = var.primary_region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]+$", var.primary_region))
    error_message = "primary_region must be a region's name such as \"eu-central-1\", or be left out when the primary is in the provider's region."
  }
}

variable "create_primary" {
  type = object({
    engine_version              = string
    instance_class              = string
    allocated_storage           = number
    max_allocated_storage       = optional(number)
    storage_type                = optional(string, "gp3")
    iops                        = optional(number)
    storage_throughput          = optional(number)
    username                    = optional(string, "postgres")
    db_name                     = optional(string)
    port                        = optional(number, 5432)
    db_subnet_group_name        = string
    vpc_security_group_ids      = list(string)
    storage_encrypted           = optional(bool, true)
    kms_key_arn                 = optional(string)
    multi_az                    = optional(bool, true)
    availability_zone           = optional(string)
    backup_retention_days       = optional(number, 7)
    backup_window               = optional(string)
    maintenance_window          = optional(string)
    ca_cert_identifier          = optional(string)
    auto_minor_version_upgrade  = optional(bool, true)
    deletion_protection         = optional(bool, true)
    skip_final_snapshot         = optional(bool, false)
    apply_immediately           = optional(bool, false)
    network_type                = optional(string, "IPV4")
    manage_master_user_password = optional(bool, false)
  })
  default     = null
  description = "Makes the primary too. Left out, primary_identifier names one that exists, which this module reads and never changes. Its password is primary_password."

  validation {
    condition     = try(var.create_primary.backup_retention_days >= 1 && var.create_primary.backup_retention_days <= 35, var.create_primary == null)
    error_message = "create_primary.backup_retention_days must be from 1 to 35: RDS makes no replica of an instance without automated backups."
  }

  validation {
    condition     = try(!var.create_primary.manage_master_user_password, var.create_primary == null)
    error_message = "create_primary.manage_master_user_password must stay false: RDS makes no replica of a PostgreSQL instance whose master password it manages in Secrets Manager. Give primary_password instead; it may come from a secret of your own."
  }

  validation {
    condition     = try(can(regex("^(1[4-9]|[2-9][0-9])([.][0-9]+)?$", var.create_primary.engine_version)), false) || var.create_primary == null
    error_message = "create_primary.engine_version must be PostgreSQL 14 or newer, such as \"16\" or \"16.4\": that is what Highwater serves."
  }

  validation {
    condition     = try(can(regex("^db[.][a-z0-9-]+[.][a-z0-9-]+$", var.create_primary.instance_class)), false) || var.create_primary == null
    error_message = "create_primary.instance_class must be an RDS class such as \"db.m7g.large\"."
  }

  validation {
    condition     = try(length(var.create_primary.vpc_security_group_ids) > 0, var.create_primary == null)
    error_message = "create_primary.vpc_security_group_ids must name at least one security group: without any RDS takes the VPC's default group, and the replicas would get that too."
  }

  validation {
    condition     = try(coalesce(var.create_primary.max_allocated_storage, var.create_primary.allocated_storage + 1) > var.create_primary.allocated_storage, var.create_primary == null)
    error_message = "create_primary.max_allocated_storage must be more than allocated_storage (AWS advises 26 % more at least), or be left out for storage that does not grow by itself."
  }

  validation {
    condition     = var.create_primary == null || var.primary_region == null
    error_message = "create_primary makes the primary in the provider's region, so primary_region must be left out. For replicas elsewhere use this module a second time, there, with primary_region."
  }
}

variable "primary_password" {
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true
  description = "Master password of the primary that create_primary makes; stored in no state or plan. Raise primary_password_version to have a changed one applied."

  validation {
    condition     = var.create_primary == null || var.primary_password != null
    error_message = "create_primary needs primary_password. (Replicas need none: they have their primary's users and passwords.)"
  }
}

variable "primary_password_version" {
  type        = number
  default     = 1
  description = "Counts the versions of primary_password: Terraform cannot see that a value it does not store has changed."

  validation {
    condition     = var.primary_password_version >= 1
    error_message = "primary_password_version must be a whole number from 1."
  }
}

# ---- The replicas ----

variable "replica_count" {
  type        = number
  default     = 1
  description = "How many read replicas, from 0 to 15. Named <primary_identifier>-replica-1, -2, …: a lower count removes the highest numbers."

  validation {
    condition     = var.replica_count >= 0 && var.replica_count <= 15 && floor(var.replica_count) == var.replica_count
    error_message = "replica_count must be a whole number from 0 to 15: RDS allows 15 replicas of one instance, those counted that were made elsewhere."
  }
}

variable "instance_class" {
  type        = string
  default     = null
  description = "Class of every replica; the primary's when left out. A larger one is fine; a smaller one needs max_connections."

  validation {
    condition     = var.instance_class == null || can(regex("^db[.][a-z0-9-]+[.][a-z0-9-]+$", var.instance_class))
    error_message = "instance_class must be an RDS class such as \"db.m7g.large\", or be left out for the primary's."
  }
}

variable "replica_overrides" {
  type = map(object({
    instance_class     = optional(string)
    availability_zone  = optional(string)
    maintenance_window = optional(string)
    multi_az           = optional(bool)
  }))
  default     = {}
  description = "What one replica has of its own, by its number: { \"2\" = { instance_class = \"db.r7g.xlarge\" } }."

  validation {
    condition     = alltrue([for number in keys(var.replica_overrides) : contains([for n in range(1, var.replica_count + 1) : tostring(n)], number)])
    error_message = "replica_overrides must name replicas that there are, by number from \"1\" to \"<replica_count>\"."
  }

  validation {
    condition     = alltrue([for one in values(var.replica_overrides) : one.instance_class == null || can(regex("^db[.][a-z0-9-]+[.][a-z0-9-]+$", one.instance_class))])
    error_message = "replica_overrides: instance_class must be an RDS class such as \"db.m7g.large\"."
  }
}

variable "availability_zones" {
  type        = list(string)
  default     = []
  description = "Zones that replicas are put into in turn, the primary's last; each must have a subnet in the subnet group. Empty leaves it to RDS, which may put all into one. Only looked at when a replica is made: a primary that fails over to another zone moves no replica."

  validation {
    condition     = alltrue([for zone in var.availability_zones : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]+(-[a-z]+-[0-9]+)?[a-z]$", zone))])
    error_message = "availability_zones must be names such as \"eu-central-1a\"."
  }
}

variable "multi_az" {
  type        = bool
  default     = false
  description = "Gives each replica a stand-in of its own in another zone. Rarely worth its price: Highwater goes on with the other replicas, or the primary."
}

variable "vpc_security_group_ids" {
  type        = list(string)
  default     = null
  description = "Security groups of replicas in another region than the primary's. In the same region replicas get the primary's, always, and this must be left out."
}

variable "db_subnet_group_name" {
  type        = string
  default     = null
  description = "Subnet group of replicas in another region than the primary's. In the same region replicas are in the primary's, and this must be left out."
}

variable "kms_key_arn" {
  type        = string
  default     = null
  description = "KMS key, of the replicas' region, for replicas of an encrypted primary in another region. In the same region replicas get the primary's key, and this must be left out."

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, arn:aws:kms:<region>:<account>:key/<id>; an alias or a bare id would make Terraform replace the replica at each run."
  }
}

variable "ca_cert_identifier" {
  type        = string
  default     = null
  description = "Certificate authority of the replicas' server certificates; the primary's when left out."
}

variable "publicly_accessible" {
  type        = bool
  default     = false
  description = "Whether replicas get a public address. Highwater runs in the same network and needs none."
}

variable "replica_backup_retention_days" {
  type        = number
  default     = 0
  description = "Automated backups of the replicas themselves, in days; 0 is none. A replica that is to be promoted one day, or have replicas of its own, wants some."

  validation {
    condition     = var.replica_backup_retention_days >= 0 && var.replica_backup_retention_days <= 35
    error_message = "replica_backup_retention_days must be from 0 to 35."
  }
}

variable "replica_deletion_protection" {
  type        = bool
  default     = false
  description = "Refuses to delete replicas. Off, so that a lower replica_count can be applied: a replica has no data of its own."
}

variable "replica_apply_immediately" {
  type        = bool
  default     = true
  description = "Changes replicas at once instead of in their maintenance window: while one restarts Highwater reads elsewhere. The primary has its own, create_primary.apply_immediately, which is off."
}

variable "replica_maintenance_window" {
  type        = string
  default     = null
  description = "Weekly window (UTC) such as \"sun:03:00-sun:03:30\" for changes and minor upgrades of replicas; RDS picks one when left out. replica_overrides staggers them."

  validation {
    condition     = var.replica_maintenance_window == null || can(regex("^(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]$", lower(var.replica_maintenance_window)))
    error_message = "replica_maintenance_window must look like \"sun:03:00-sun:03:30\"."
  }
}

# ---- Parameters ----

variable "create_parameter_group" {
  type        = bool
  default     = true
  description = "Makes a parameter group with what Highwater needs, for the replicas and for a primary that create_primary makes. False: parameter_group_name, or in the primary's region the primary's group."
}

variable "parameter_group_name" {
  type        = string
  default     = null
  description = "A parameter group that exists, for the replicas and for a primary that create_primary makes; only with create_parameter_group = false."

  validation {
    condition     = var.parameter_group_name == null || !var.create_parameter_group
    error_message = "parameter_group_name needs create_parameter_group = false: an instance has one parameter group."
  }
}

variable "max_standby_delay_ms" {
  type        = number
  default     = 10000
  description = "How long a read on a replica may hold up replay before it is cancelled, in milliseconds (-1: for ever). While replay waits the replica ages: longer than [reads].max_staleness makes it useless to bounded reads."

  validation {
    condition     = var.max_standby_delay_ms >= -1 && var.max_standby_delay_ms <= 2147483647
    error_message = "max_standby_delay_ms must be from 0 to 2147483647 milliseconds, or -1 for ever."
  }
}

variable "hot_standby_feedback" {
  type        = bool
  default     = true
  description = "Replicas tell the primary what their reads still look at, so that vacuum does not remove it and cancel them. The price: a long read on a replica keeps dead rows on the primary."
}

variable "force_ssl" {
  type        = bool
  default     = false
  description = "rds.force_ssl. RDS has it on since PostgreSQL 15, and Highwater does not speak TLS to nodes: on, it could not connect. An existing primary needs it off in its own group too."
}

variable "max_connections" {
  type        = number
  default     = null
  description = "max_connections of the group, instead of RDS's formula over the class's memory. PostgreSQL stops replaying on a replica that allows fewer connections than the primary, so a smaller class needs it: the primary's value."

  validation {
    condition     = var.max_connections == null || try(var.max_connections >= 6 && var.max_connections <= 262143, false)
    error_message = "max_connections must be from 6 to 262143, or be left out for RDS's formula."
  }
}

variable "extra_parameters" {
  type = map(object({
    value        = string
    apply_method = optional(string, "immediate")
  }))
  default     = {}
  description = "More parameters of the group, or other values for those it sets. Where the primary's group raises max_worker_processes, max_wal_senders, max_prepared_transactions or max_locks_per_transaction, repeat them: a replica with less does not replay."

  validation {
    condition     = alltrue([for one in values(var.extra_parameters) : contains(["immediate", "pending-reboot"], one.apply_method)])
    error_message = "extra_parameters: apply_method must be \"immediate\" or \"pending-reboot\" (for parameters that need a restart)."
  }
}

# ---- Watching ----

variable "monitoring_interval" {
  type        = number
  default     = 60
  description = "Seconds between the samples of Enhanced Monitoring; 0 is off."

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.monitoring_interval)
    error_message = "monitoring_interval must be 0, 1, 5, 10, 15, 30 or 60 seconds."
  }
}

variable "monitoring_role_arn" {
  type        = string
  default     = null
  description = "Role by which RDS delivers Enhanced Monitoring; one is made when left out and monitoring_interval is not 0."
}

variable "performance_insights_enabled" {
  type        = bool
  default     = true
  description = "Performance Insights on the replicas (and on a primary made here)."
}

variable "performance_insights_retention_days" {
  type        = number
  default     = 7
  description = "Days that Performance Insights keeps; 7 costs nothing."

  validation {
    condition     = contains([7, 731], var.performance_insights_retention_days) || (var.performance_insights_retention_days % 31 == 0 && var.performance_insights_retention_days >= 31 && var.performance_insights_retention_days <= 713)
    error_message = "performance_insights_retention_days must be 7, a multiple of 31 up to 713, or 731."
  }
}

variable "log_exports" {
  type        = list(string)
  default     = null
  description = "Logs delivered to CloudWatch: \"postgresql\", \"upgrade\". The primary's when left out; of a primary made here, both."

  validation {
    condition     = var.log_exports == null || alltrue([for log in coalesce(var.log_exports, []) : contains(["postgresql", "upgrade"], log)])
    error_message = "log_exports may hold \"postgresql\" and \"upgrade\"."
  }
}

variable "create_alarms" {
  type        = bool
  default     = true
  description = "Makes CloudWatch alarms for each replica and for the primary."
}

variable "alarm_actions" {
  type        = list(string)
  default     = []
  description = "ARNs of what an alarm does, usually an SNS topic. Empty: alarms only show."

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "alarm_actions must be ARNs, such as that of an SNS topic."
  }
}

variable "ok_actions" {
  type        = list(string)
  default     = []
  description = "ARNs of what happens when an alarm ends."

  validation {
    condition     = alltrue([for arn in var.ok_actions : startswith(arn, "arn:")])
    error_message = "ok_actions must be ARNs, such as that of an SNS topic."
  }
}

variable "alarm_thresholds" {
  type = object({
    replica_lag_seconds           = optional(number, 30)
    cpu_percent                   = optional(number, 70)
    freeable_memory_bytes         = optional(number, 268435456)
    free_storage_bytes            = optional(number, 10737418240)
    connections                   = optional(number, 400)
    disk_queue_depth              = optional(number, 64)
    replication_slot_lag_megabyte = optional(number, 10240)
  })
  default     = {}
  description = "Where alarms begin: ReplicaLag, CPUUtilization, DatabaseConnections, DiskQueueDepth and OldestReplicationSlotLag above, FreeableMemory and FreeStorageSpace below, for five minutes on end."

  validation {
    condition     = alltrue([for value in values(var.alarm_thresholds) : value > 0]) && var.alarm_thresholds.cpu_percent < 100
    error_message = "alarm_thresholds must be above 0, and cpu_percent below 100: an alarm beyond what can happen never tells anything."
  }
}

variable "lag_alarm_when_idle" {
  type        = bool
  default     = false
  description = "Lets ReplicaLag alarm while the primary writes nothing. RDS counts the time since the last transaction replayed, so that behind an idle primary it climbs to five minutes with nothing wrong. Off, ReplicaLag counts only while the primary writes WAL. A primary in another region is always taken as busy: CloudWatch joins no metrics across regions."
}

# ---- What Highwater is told ----

variable "highwater" {
  type = object({
    cluster               = optional(string, "main")
    listen                = optional(string, "0.0.0.0:6432")
    http                  = optional(string, "0.0.0.0:6433")
    auth_file             = optional(string, "/run/highwater-secrets/userlist.txt")
    monitor_user          = optional(string, "highwater")
    monitor_password_file = optional(string, "/run/highwater-secrets/monitor.secret")
    monitor_database      = optional(string, "postgres")
    databases             = optional(list(string), ["*"])
    consistency           = optional(string, "session")
    max_staleness         = optional(string, "10s")
  })
  default     = {}
  description = "What goes into the highwater.toml of the output beside the nodes. Passwords are named by file only: none is ever in it."

  validation {
    condition     = contains(["eventual", "bounded", "session", "causal", "global", "strong"], var.highwater.consistency)
    error_message = "highwater.consistency must be eventual, bounded, session, causal, global or strong."
  }

  validation {
    condition     = can(regex("^[0-9]+(ms|s|min|h|d)$", var.highwater.max_staleness))
    error_message = "highwater.max_staleness must be a duration such as \"500ms\", \"10s\" or \"2min\"."
  }

  validation {
    condition     = length(var.highwater.databases) > 0 && alltrue([for text in concat(var.highwater.databases, [var.highwater.cluster, var.highwater.listen, var.highwater.http, var.highwater.auth_file, var.highwater.monitor_user, var.highwater.monitor_password_file, var.highwater.monitor_database]) : can(regex("^[^\"\\\\\\x00-\\x1f]+$", text))])
    error_message = "highwater needs at least one database (\"*\" is every one), and no value may be empty or hold a quote, a backslash or a control character."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of everything made here."
}
