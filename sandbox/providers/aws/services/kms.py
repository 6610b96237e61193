"""KMS: keys and their aliases."""

from typing import Final

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
from sandbox.providers.contract import ProviderError

_TAG: Final = ("TagKey", "TagValue")
_BYPASS: Final = {"bypassPolicyLockoutSafetyCheck": "BypassPolicyLockoutSafetyCheck"}


class Key(ServiceAdapter):
    token = "aws:kms/key:Key"
    service = "kms"
    replaces = frozenset(("customerMasterKeySpec", "keyUsage", "multiRegion"))
    documents = frozenset(("policy",))
    write_only = frozenset(("bypassPolicyLockoutSafetyCheck", "deletionWindowInDays"))
    refused = frozenset(("customKeyStoreId", "rotationPeriodInDays", "xksKeyId"))

    _names: Final = {
        "customerMasterKeySpec": "KeySpec",
        "description": "Description",
        "keyUsage": "KeyUsage",
        "multiRegion": "MultiRegion",
    }

    def make(self, op: Operation) -> str:
        parameters = taken(op.values, {**self._names, **_BYPASS, "policy": "Policy"})
        key = str(op.client.create_key(**parameters, Tags=tag_list(op.tags, *_TAG))["KeyMetadata"]["KeyId"])
        if op.values.get("enableKeyRotation"):
            op.client.enable_key_rotation(KeyId=key)
        if op.values.get("isEnabled") is False:
            op.client.disable_key(KeyId=key)
        return key

    def look(self, op: Operation) -> Values | None:
        key = op.client.describe_key(KeyId=op.id)["KeyMetadata"]
        if key["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion"):
            return None
        rotation = op.client.get_key_rotation_status(KeyId=op.id)
        policy = op.client.get_key_policy(KeyId=op.id, PolicyName="default")["Policy"]
        tags = op.client.list_resource_tags(KeyId=op.id)["Tags"]
        return {
            **given(key, {**self._names, "arn": "Arn", "keyId": "KeyId", "isEnabled": "Enabled"}),
            "policy": document(policy, op.values.get("policy")),
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            **tag_values(op, tag_map(tags, *_TAG)),
        }

    def change(self, op: Operation) -> None:
        # Rotation cannot be changed while the key is disabled, so it is enabled first and disabled last.
        enabled = op.values.get("isEnabled") is not False
        if op.changed("isEnabled") and enabled:
            op.client.enable_key(KeyId=op.id)
        if op.changed("enableKeyRotation"):
            if op.values.get("enableKeyRotation"):
                op.client.enable_key_rotation(KeyId=op.id)
            else:
                op.client.disable_key_rotation(KeyId=op.id)
        if op.changed("description"):
            op.client.update_key_description(KeyId=op.id, Description=op.values.get("description") or "")
        if op.changed("policy") and op.values.get("policy"):
            bypass = taken(op.values, _BYPASS)
            op.client.put_key_policy(KeyId=op.id, PolicyName="default", Policy=op.values["policy"], **bypass)
        if op.changed("isEnabled") and not enabled:
            op.client.disable_key(KeyId=op.id)
        retag(
            op,
            lambda tags: op.client.tag_resource(KeyId=op.id, Tags=tag_list(tags, *_TAG)),
            lambda keys: op.client.untag_resource(KeyId=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.schedule_key_deletion(KeyId=op.id, PendingWindowInDays=op.values.get("deletionWindowInDays") or 30)


class Alias(ServiceAdapter):
    token = "aws:kms/alias:Alias"
    service = "kms"
    replaces = frozenset(("name",))
    refused = frozenset(("namePrefix",))

    def make(self, op: Operation) -> str:
        name = op.values.get("name")
        if not name:
            raise ProviderError(f"{self.token}: `name` is missing: give one, such as alias/data")
        op.client.create_alias(AliasName=name, TargetKeyId=op.values["targetKeyId"])
        return str(name)

    def look(self, op: Operation) -> Values | None:
        for page in op.client.get_paginator("list_aliases").paginate():
            for alias in page["Aliases"]:
                if alias["AliasName"] == op.id:
                    return _alias_values(op, alias["AliasArn"], alias["TargetKeyId"])
        return None

    def change(self, op: Operation) -> None:
        if op.changed("targetKeyId"):
            op.client.update_alias(AliasName=op.id, TargetKeyId=op.values["targetKeyId"])

    def remove(self, op: Operation) -> None:
        op.client.delete_alias(AliasName=op.id)


def _alias_values(op: Operation, arn: str, key: str) -> Values:
    """The key keeps the form it was given in: its ID or its ARN."""
    wanted = str(op.values.get("targetKeyId") or key)
    return {
        "name": op.id,
        "targetKeyId": wanted if wanted.rpartition("/")[2] == key else key,
        "arn": arn,
        "targetKeyArn": op.client.describe_key(KeyId=key)["KeyMetadata"]["Arn"],
    }
