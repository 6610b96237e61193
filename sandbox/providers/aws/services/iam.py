"""IAM: roles, policies and what ties them together."""

from typing import Any, Final

from botocore.exceptions import ClientError

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    Operation,
    ServiceAdapter,
    document,
    given,
    is_gone,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
    when,
)

_MAX_VERSIONS: Final = 5
"""Versions a managed policy may have; docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""


class Role(ServiceAdapter):
    token = "aws:iam/role:Role"
    service = "iam"
    replaces = frozenset(("name", "path"))
    documents = frozenset(("assumeRolePolicy",))
    write_only = frozenset(("forceDetachPolicies",))
    refused = frozenset(("inlinePolicies", "managedPolicyArns", "namePrefix"))
    autoname = ("name", 64)

    _names: Final = {
        "assumeRolePolicy": "AssumeRolePolicyDocument",
        "description": "Description",
        "maxSessionDuration": "MaxSessionDuration",
        "name": "RoleName",
        "path": "Path",
        "permissionsBoundary": "PermissionsBoundary",
    }

    def make(self, op: Operation) -> str:
        answer = op.client.create_role(**taken(op.values, self._names), Tags=tag_list(op.tags))
        return str(answer["Role"]["RoleName"])

    def look(self, op: Operation) -> Values:
        role = op.client.get_role(RoleName=op.id)["Role"]
        return {
            **given(role, self._names),
            "assumeRolePolicy": document(role["AssumeRolePolicyDocument"], op.values.get("assumeRolePolicy")),
            "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "arn": role["Arn"],
            "createDate": when(role["CreateDate"]),
            "uniqueId": role["RoleId"],
            **tag_values(op, tag_map(role.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed("assumeRolePolicy"):
            op.client.update_assume_role_policy(RoleName=op.id, PolicyDocument=op.values["assumeRolePolicy"])
        if op.changed("description", "maxSessionDuration"):
            op.client.update_role(
                RoleName=op.id,
                Description=op.values.get("description") or "",
                MaxSessionDuration=op.values.get("maxSessionDuration") or 3600,
            )
        if op.changed("permissionsBoundary"):
            if boundary := op.values.get("permissionsBoundary"):
                op.client.put_role_permissions_boundary(RoleName=op.id, PermissionsBoundary=boundary)
            else:
                op.client.delete_role_permissions_boundary(RoleName=op.id)
        retag(
            op,
            lambda tags: op.client.tag_role(RoleName=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_role(RoleName=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        for profile in op.client.list_instance_profiles_for_role(RoleName=op.id)["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            op.client.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=op.id)
        if op.values.get("forceDetachPolicies"):
            for arn in _attached(op.client, op.id):
                op.client.detach_role_policy(RoleName=op.id, PolicyArn=arn)
            for page in op.client.get_paginator("list_role_policies").paginate(RoleName=op.id):
                for name in page["PolicyNames"]:
                    op.client.delete_role_policy(RoleName=op.id, PolicyName=name)
        op.client.delete_role(RoleName=op.id)


class Policy(ServiceAdapter):
    token = "aws:iam/policy:Policy"
    service = "iam"
    replaces = frozenset(("description", "name", "path"))
    documents = frozenset(("policy",))
    refused = frozenset(("delayAfterPolicyCreationInMs", "namePrefix"))
    autoname = ("name", 128)

    _names: Final = {"description": "Description", "name": "PolicyName", "path": "Path"}

    def make(self, op: Operation) -> str:
        answer = op.client.create_policy(
            **taken(op.values, self._names), PolicyDocument=op.values["policy"], Tags=tag_list(op.tags)
        )
        return str(answer["Policy"]["Arn"])

    def look(self, op: Operation) -> Values:
        policy = op.client.get_policy(PolicyArn=op.id)["Policy"]
        version = op.client.get_policy_version(PolicyArn=op.id, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        return {
            **given(policy, self._names),
            "policy": document(version["Document"], op.values.get("policy")),
            "arn": policy["Arn"],
            "attachmentCount": policy["AttachmentCount"],
            "policyId": policy["PolicyId"],
            **tag_values(op, tag_map(policy.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed("policy"):
            versions = op.client.list_policy_versions(PolicyArn=op.id)["Versions"]
            if len(versions) >= _MAX_VERSIONS:
                spare = [version for version in versions if not version["IsDefaultVersion"]]
                oldest = min(spare, key=lambda version: version["CreateDate"])
                op.client.delete_policy_version(PolicyArn=op.id, VersionId=oldest["VersionId"])
            op.client.create_policy_version(PolicyArn=op.id, PolicyDocument=op.values["policy"], SetAsDefault=True)
        retag(
            op,
            lambda tags: op.client.tag_policy(PolicyArn=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_policy(PolicyArn=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        for version in op.client.list_policy_versions(PolicyArn=op.id)["Versions"]:
            if not version["IsDefaultVersion"]:
                op.client.delete_policy_version(PolicyArn=op.id, VersionId=version["VersionId"])
        op.client.delete_policy(PolicyArn=op.id)


class RolePolicy(ServiceAdapter):
    token = "aws:iam/rolePolicy:RolePolicy"
    service = "iam"
    replaces = frozenset(("name", "role"))
    documents = frozenset(("policy",))
    refused = frozenset(("namePrefix",))
    autoname = ("name", 128)

    def make(self, op: Operation) -> str:
        self.change(op)
        return f"{op.values['role']}:{op.values['name']}"

    def look(self, op: Operation) -> Values:
        role, _, name = op.id.partition(":")
        answer = op.client.get_role_policy(RoleName=role, PolicyName=name)
        return {"name": name, "role": role, "policy": document(answer["PolicyDocument"], op.values.get("policy"))}

    def change(self, op: Operation) -> None:
        op.client.put_role_policy(RoleName=op.values["role"], PolicyName=op.values["name"], PolicyDocument=op.values["policy"])

    def remove(self, op: Operation) -> None:
        role, _, name = op.id.partition(":")
        op.client.delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(ServiceAdapter):
    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    service = "iam"
    replaces = frozenset(("policyArn", "role"))

    def make(self, op: Operation) -> str:
        op.client.attach_role_policy(RoleName=op.values["role"], PolicyArn=op.values["policyArn"])
        return f"{op.values['role']}/{op.values['policyArn']}"

    def look(self, op: Operation) -> Values | None:
        role, _, arn = op.id.partition("/")
        return {"role": role, "policyArn": arn} if arn in _attached(op.client, role) else None

    def remove(self, op: Operation) -> None:
        role, _, arn = op.id.partition("/")
        op.client.detach_role_policy(RoleName=role, PolicyArn=arn)


class InstanceProfile(ServiceAdapter):
    token = "aws:iam/instanceProfile:InstanceProfile"
    service = "iam"
    replaces = frozenset(("name", "path"))
    refused = frozenset(("namePrefix",))
    autoname = ("name", 128)

    _names: Final = {"name": "InstanceProfileName", "path": "Path"}

    def make(self, op: Operation) -> str:
        op.client.create_instance_profile(**taken(op.values, self._names), Tags=tag_list(op.tags))
        name = str(op.values["name"])
        if role := op.values.get("role"):
            op.client.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return name

    def look(self, op: Operation) -> Values:
        profile = op.client.get_instance_profile(InstanceProfileName=op.id)["InstanceProfile"]
        return {
            **given(profile, self._names),
            "role": next((role["RoleName"] for role in profile["Roles"]), None),
            "arn": profile["Arn"],
            "createDate": when(profile["CreateDate"]),
            "uniqueId": profile["InstanceProfileId"],
            **tag_values(op, tag_map(profile.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed("role"):
            _empty(op.client, op.id)
            if role := op.values.get("role"):
                op.client.add_role_to_instance_profile(InstanceProfileName=op.id, RoleName=role)
        retag(
            op,
            lambda tags: op.client.tag_instance_profile(InstanceProfileName=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_instance_profile(InstanceProfileName=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        _empty(op.client, op.id)
        op.client.delete_instance_profile(InstanceProfileName=op.id)


class ServiceLinkedRole(ServiceAdapter):
    token = "aws:iam/serviceLinkedRole:ServiceLinkedRole"
    service = "iam"
    replaces = frozenset(("awsServiceName", "customSuffix"))

    _names: Final = {"awsServiceName": "AWSServiceName", "customSuffix": "CustomSuffix", "description": "Description"}

    def make(self, op: Operation) -> str:
        role = op.client.create_service_linked_role(**taken(op.values, self._names))["Role"]
        if op.tags:
            op.client.tag_role(RoleName=role["RoleName"], Tags=tag_list(op.tags))
        return str(role["Arn"])

    def look(self, op: Operation) -> Values:
        role = op.client.get_role(RoleName=_last(op.id))["Role"]
        return {
            "awsServiceName": role["Path"].removeprefix("/aws-service-role/").rstrip("/"),
            "customSuffix": role["RoleName"].partition("_")[2] or None,
            "description": role.get("Description"),
            "arn": role["Arn"],
            "createDate": when(role["CreateDate"]),
            "name": role["RoleName"],
            "path": role["Path"],
            "uniqueId": role["RoleId"],
            **tag_values(op, tag_map(role.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        if op.changed("description"):
            op.client.update_role(RoleName=_last(op.id), Description=op.values.get("description") or "")
        retag(
            op,
            lambda tags: op.client.tag_role(RoleName=_last(op.id), Tags=tag_list(tags)),
            lambda keys: op.client.untag_role(RoleName=_last(op.id), TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_service_linked_role(RoleName=_last(op.id))


def _attached(iam: Any, role: str) -> list[str]:
    """ARNs of the managed policies attached to a role."""
    pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
    return [policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]]


def _empty(iam: Any, profile: str) -> None:
    """Take the role out of an instance profile."""
    for role in iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]:
        try:
            iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role["RoleName"])
        except ClientError as error:
            if not is_gone(error):  # the role may go at the same time
                raise


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
