"""What nodes reach of AWS without leaving the network: checks, and the policy of the way to S3. Pure; values may be outputs."""

from collections.abc import Iterable

import pulumi

from ..security.policies import ANYBODY, Statement, allow

NEEDED_WITHOUT_NAT = ("ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth")
"""Without them and a way out, nodes do not join and pods get no credentials (EKS user guide, "Deploy private clusters with
limited internet access"); more where pods use more: logs, sqs, ssm, sts, elasticfilesystem, elasticloadbalancing."""

_PUBLIC_BUCKETS = (
    "prod-{region}-starport-layer-bucket",  # layers of ECR, those of EKS add-ons among them (ECR user guide, VPC endpoints)
    "prod-registry-k8s-io-{region}",  # registry.k8s.io (kubernetes/registry.k8s.io)
    "docker-images-prod",  # Docker Hub
    "quayio-production-s3",  # quay.io
    "hf-hub-lfs-{region}",  # Hugging Face
)
"""Where registries keep layers and weights: what lies in the network's region is fetched by this way, NAT or not."""

_OWN_BUCKET_ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetBucketLocation",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)


def check_endpoints(services: tuple[str, ...], has_nat: bool) -> None:
    """Raise ValueError for a service named twice, and when nodes would reach too little."""
    for number, service in enumerate(services):
        if service in services[:number]:
            raise ValueError(f"interface_endpoints: {service} is named twice; name it once")
    if "s3" in services:
        raise ValueError("interface_endpoints: s3 has a gateway endpoint already, which costs nothing; leave it out")
    missing = [service for service in NEEDED_WITHOUT_NAT if service not in services]
    if missing and not has_nat:
        raise ValueError(
            f"natGateways: none leaves nodes no way to {', '.join(missing)}; add these to interface_endpoints, or use single"
        )


def s3_statements(
    partition: pulumi.Input[str], account_id: pulumi.Input[str], region: str, buckets: Iterable[str]
) -> list[Statement]:
    """Statements of the policy of the S3 endpoint: the account's own buckets, and reading from registries and from `buckets`.

    It grants nothing; it keeps data from being carried to buckets of others.
    """
    readable = [*(bucket.format(region=region) for bucket in _PUBLIC_BUCKETS), *buckets]
    return [
        allow(
            _OWN_BUCKET_ACTIONS,
            "*",
            principals=ANYBODY,
            conditions={"StringEquals": {"aws:ResourceAccount": account_id}},
            sid="OwnBuckets",
        ),
        allow(
            ["s3:GetObject"],
            [pulumi.Output.format("arn:{0}:s3:::{1}/*", partition, bucket) for bucket in readable],
            principals=ANYBODY,
            sid="ReadFromRegistries",
        ),
    ]
