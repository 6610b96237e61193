"""The emulated `aws` provider: resources of pulumi-aws made by boto3 in the rehearsal's AWS account."""
