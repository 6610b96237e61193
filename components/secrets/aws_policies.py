"""What the operator may read of an AWS account: the secrets that are named, and nothing else."""

import re
from collections.abc import Sequence

from ..cloud import Cloud
from ..security.policies import Statement, allow
from .providers import AwsSecretService

_ACTION = {
    AwsSecretService.SECRETS_MANAGER: "secretsmanager:GetSecretValue",
    AwsSecretService.PARAMETER_STORE: "ssm:GetParameter",
}
_SERVICE = {AwsSecretService.SECRETS_MANAGER: "secretsmanager", AwsSecretService.PARAMETER_STORE: "ssm"}
_NAME = {
    AwsSecretService.SECRETS_MANAGER: r"[A-Za-z0-9/_+=.@-]{1,512}",
    AwsSecretService.PARAMETER_STORE: r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*",
}
_DOMAINS = ("amazonaws.com", "amazonaws.com.cn")
_RANDOM_SUFFIX = "-??????"
"""Secrets Manager puts a dash and six characters behind a name in its ARN (secretsmanager API reference, CreateSecret)."""


def check_remote(service: AwsSecretService, remote: str) -> None:
    """Raise ValueError for a name the service would not take, or with which a policy would name more than one secret."""
    if not re.fullmatch(_NAME[service], remote):
        raise ValueError(f"{remote!r} is no name of {service}; use letters, digits and /_-. only, e.g. llm/hugging-face")


def reader_statements(
    here: Cloud, service: AwsSecretService, remotes: Sequence[str], kms_key_arns: Sequence[str]
) -> list[Statement]:
    """Read these secrets, and decrypt what the service hands out of them with keys of the user's own."""
    resources = [here.arn(_SERVICE[service], _resource(service, remote)) for remote in sorted(set(remotes))]
    statements = [allow([_ACTION[service]], resources, sid="ReadNamedSecrets")]
    if kms_key_arns:
        # In China the services have another domain, and only one of both is anywhere.
        through = here.region.apply(lambda region: [f"{_SERVICE[service]}.{region}.{domain}" for domain in _DOMAINS])
        conditions = {"StringEquals": {"kms:ViaService": through}}
        statements.append(allow(["kms:Decrypt"], sorted(set(kms_key_arns)), conditions=conditions, sid="DecryptNamedSecrets"))
    return statements


def _resource(service: AwsSecretService, remote: str) -> str:
    if service is AwsSecretService.SECRETS_MANAGER:
        return f"secret:{remote}{_RANDOM_SUFFIX}"
    return f"parameter/{remote.removeprefix('/')}"
