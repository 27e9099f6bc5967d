# What an instance may do: read its program and its two secrets, and say that it is ready. Each by name.

data "aws_region" "current" {}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

locals {
  secret_arns = [var.monitor_password_secret_arn, var.users_secret_arn]

  statements = concat(
    [
      {
        Sid      = "Program"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["arn:${data.aws_partition.current.partition}:s3:::${var.program.bucket}/${var.program.key}"]
      },
      {
        Sid      = "Ready"
        Effect   = "Allow"
        Action   = ["autoscaling:CompleteLifecycleAction"]
        Resource = ["arn:${data.aws_partition.current.partition}:autoscaling:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:autoScalingGroup:*:autoScalingGroupName/${var.name}"]
      },
    ],
    [for service, action in { secretsmanager = "secretsmanager:GetSecretValue", ssm = "ssm:GetParameter" } : {
      Sid                                    = title(service)
      Effect                                 = "Allow"
      Action                                 = [action]
      Resource                               = distinct([for arn in local.secret_arns : arn if strcontains(arn, ":${service}:")])
    } if anytrue([for arn in local.secret_arns : strcontains(arn, ":${service}:")])],
    [for key in [var.secrets_kms_key_arn] : {
      Sid      = "Decrypt"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = [key]
    } if key != null],
  )
}

resource "aws_iam_role" "instance" {
  name_prefix          = "${var.name}-"
  description          = "Instances of ${var.name}"
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })

  tags = var.tags
}

resource "aws_iam_role_policy" "instance" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.instance.id
  policy      = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  count = var.session_manager ? 1 : 0

  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.instance.name
  tags        = var.tags
}
