"""Secrets Manager: secrets and their values."""

import base64
from typing import Final

from botocore.exceptions import ClientError

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    Operation,
    ServiceAdapter,
    document,
    given,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
)

_CURRENT: Final = "AWSCURRENT"


class Secret(ServiceAdapter):
    token = "aws:secretsmanager/secret:Secret"
    service = "secretsmanager"
    replaces = frozenset(("name",))
    documents = frozenset(("policy",))
    write_only = frozenset(("recoveryWindowInDays",))
    refused = frozenset(("forceOverwriteReplicaSecret", "namePrefix", "replicas", "type"))
    autoname = ("name", 512)

    _names: Final = {"description": "Description", "kmsKeyId": "KmsKeyId"}

    def make(self, op: Operation) -> str:
        answer = op.client.create_secret(
            Name=op.values["name"],
            **taken(op.values, self._names),
            Tags=tag_list(op.tags),
        )
        if policy := op.values.get("policy"):
            op.client.put_resource_policy(SecretId=answer["ARN"], ResourcePolicy=policy)
        return str(answer["ARN"])

    def look(self, op: Operation) -> Values | None:
        secret = op.client.describe_secret(SecretId=op.id)
        if secret.get("DeletedDate"):
            return None
        policy = op.client.get_resource_policy(SecretId=op.id).get("ResourcePolicy")
        return {
            **given(secret, {**self._names, "name": "Name", "arn": "ARN"}),
            "policy": policy and document(policy, op.values.get("policy")),
            **tag_values(op, tag_map(secret.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed(*self._names):
            op.client.update_secret(SecretId=op.id, **{theirs: op.values.get(ours) or "" for ours, theirs in self._names.items()})
        if op.changed("policy"):
            if policy := op.values.get("policy"):
                op.client.put_resource_policy(SecretId=op.id, ResourcePolicy=policy)
            else:
                op.client.delete_resource_policy(SecretId=op.id)
        retag(
            op,
            lambda tags: op.client.tag_resource(SecretId=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_resource(SecretId=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        days = op.values.get("recoveryWindowInDays")
        window = {"ForceDeleteWithoutRecovery": True} if days == 0 else {"RecoveryWindowInDays": days or 30}
        op.client.delete_secret(SecretId=op.id, **window)


class SecretVersion(ServiceAdapter):
    token = "aws:secretsmanager/secretVersion:SecretVersion"
    service = "secretsmanager"
    replaces = frozenset(("secretBinary", "secretId", "secretString"))
    unordered = frozenset(("versionStages",))
    secrets = frozenset(("secretBinary", "secretString"))
    refused = frozenset(("secretStringWo", "secretStringWoVersion"))

    def make(self, op: Operation) -> str:
        value = taken(op.values, {"secretString": "SecretString", "versionStages": "VersionStages"})
        if binary := op.values.get("secretBinary"):
            value["SecretBinary"] = base64.b64decode(binary)
        secret = op.values["secretId"]
        return f"{secret}|{op.client.put_secret_value(SecretId=secret, **value)['VersionId']}"

    def look(self, op: Operation) -> Values | None:
        secret, _, version = op.id.partition("|")
        try:
            answer = op.client.get_secret_value(SecretId=secret, VersionId=version)
        except ClientError as error:
            if "marked for deletion" in str(error) or "marked deleted" in str(error):
                return None
            raise
        binary = answer.get("SecretBinary")
        return {
            **given(answer, {"secretString": "SecretString", "versionId": "VersionId", "versionStages": "VersionStages"}),
            "secretBinary": base64.b64encode(binary).decode() if binary else None,
            "secretId": secret,
            "arn": answer["ARN"],
            "secretArn": answer["ARN"],
            "hasSecretStringWo": False,
        }

    def change(self, op: Operation) -> None:
        secret, _, version = op.id.partition("|")
        before, after = set(op.old.get("versionStages") or ()), set(op.values.get("versionStages") or ())
        for stage in sorted(after - before):
            holder = _holder(op, secret, stage)
            moved = {"RemoveFromVersionId": holder} if holder and holder != version else {}
            op.client.update_secret_version_stage(SecretId=secret, VersionStage=stage, MoveToVersionId=version, **moved)
        self._unstage(op, before - after)

    def remove(self, op: Operation) -> None:
        self._unstage(op, set(op.values.get("versionStages") or ()))

    def _unstage(self, op: Operation, stages: set[str]) -> None:
        """Take labels off this version; the current one only moves to another version, and stays until the secret goes."""
        secret, _, version = op.id.partition("|")
        for stage in sorted(stages - {_CURRENT}):
            op.client.update_secret_version_stage(SecretId=secret, VersionStage=stage, RemoveFromVersionId=version)


def _holder(op: Operation, secret: str, stage: str) -> str | None:
    """The version of a secret that has a label."""
    stages = op.client.describe_secret(SecretId=secret).get("VersionIdsToStages") or {}
    return next((version for version, labels in stages.items() if stage in labels), None)
