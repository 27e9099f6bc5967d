terraform {
  # 1.9: validations that look at other variables. 1.11: write-only arguments, so that no password stands in a state file.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.0: `region` on every resource and data source, which a primary in another region is read with.
      version = ">= 6.0, < 7.0"
    }
  }
}
