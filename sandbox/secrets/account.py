"""The secrets that the AWS account of a stack has before the stack is there, made up."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox.secrets import SEEDED
from sandbox.secrets.made_up import Inventor
from settings.secrets import SecretsSettings, StoreKind


def seed(secrets: SecretsSettings, inventor: Inventor, environment: Mapping[str, str]) -> None:
    """Make every secret or parameter that the settings name and the account, which `environment` leads to, does not have."""
    if not secrets.aws_service or not secrets.items:
        return
    import boto3  # noqa: PLC0415 - only stacks with such secrets pay for it

    service = "secretsmanager" if secrets.store.kind is StoreKind.AWS_SECRETS_MANAGER else "ssm"
    client = boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    for name, value in contents(secrets, inventor).items():
        if service == "ssm":
            _put(client, client.exceptions.ParameterAlreadyExists, name, value)
        else:
            _create(client, name, value)


def contents(secrets: SecretsSettings, inventor: Inventor) -> dict[str, str]:
    """By name what each secret or parameter holds: one value, or several as JSON."""
    found: dict[str, str] = {}
    parts: dict[str, dict[str, str]] = {}
    for name, item in secrets.items.items():
        for key, of in item.keys.items():
            value = inventor.value(item.type, key, "account", name)
            if of.remote and of.property:
                parts.setdefault(of.remote, {})[of.property] = value
            elif of.remote:
                found[of.remote] = value
    return {**{remote: json.dumps(values) for remote, values in parts.items()}, **found}


def _create(client: Any, name: str, value: str) -> None:
    try:
        client.create_secret(Name=name, SecretString=value, Description=SEEDED)
    except client.exceptions.ResourceExistsException:
        return


def _put(client: Any, exists: type[Exception], name: str, value: str) -> None:
    try:
        client.put_parameter(Name=name, Value=value, Type="SecureString", Description=SEEDED)
    except exists:
        return
