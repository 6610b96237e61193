"""Who may do what on an EKS cluster and from inside it: access entries, their policies, Pod Identity; and add-ons."""

from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.eks import issues, retag_by_arn, settle, without_done
from sandbox.providers.aws.services.shapes import ISSUES, STATUS, Operation, ServiceAdapter, given, tag_values, taken, when


class Addon(ServiceAdapter):
    token = "aws:eks/addon:Addon"
    service = "eks"
    replaces = frozenset(("addonName", "clusterName", "namespaceConfig"))
    unordered = frozenset(("podIdentityAssociations",))
    write_only = frozenset(("preserve", "resolveConflictsOnCreate", "resolveConflictsOnUpdate"))

    def make(self, op: Operation) -> str:
        addon = op.client.create_addon(**addon_parameters(op.values), tags=op.tags)["addon"]
        return f"{addon['clusterName']}:{addon['addonName']}"

    def look(self, op: Operation) -> Values:
        addon = op.client.describe_addon(**_addon_of(op.id))["addon"]
        return {
            **given(addon, _ADDON),
            "podIdentityAssociations": [_association(op, arn) for arn in addon.get("podIdentityAssociations") or ()],
            "arn": addon["addonArn"],
            "createdAt": when(addon["createdAt"]),
            "modifiedAt": when(addon["modifiedAt"]),
            STATUS: addon["status"],
            ISSUES: issues(addon),
            **tag_values(op, addon.get("tags")),
        }

    def change(self, op: Operation) -> None:
        cluster, _, name = op.id.partition(":")
        live = self.look(op)
        if parameters := addon_update(without_done(op, live), op.values):
            answer = op.client.update_addon(**_addon_of(op.id), **parameters)
            settle(op.client, answer, name=cluster, addonName=name)
        retag_by_arn(op, live["arn"])

    def remove(self, op: Operation) -> None:
        op.client.delete_addon(**_addon_of(op.id), preserve=bool(op.values.get("preserve")))


class AccessEntry(ServiceAdapter):
    token = "aws:eks/accessEntry:AccessEntry"
    service = "eks"
    replaces = frozenset(("clusterName", "principalArn", "type"))
    unordered = frozenset(("kubernetesGroups",))

    _names: Final = {
        "clusterName": "clusterName",
        "kubernetesGroups": "kubernetesGroups",
        "principalArn": "principalArn",
        "type": "type",
        "userName": "username",
    }

    def make(self, op: Operation) -> str:
        entry = op.client.create_access_entry(**taken(op.values, self._names), tags=op.tags)["accessEntry"]
        return f"{entry['clusterName']}:{entry['principalArn']}"

    def look(self, op: Operation) -> Values:
        entry = op.client.describe_access_entry(**_entry_of(op.id))["accessEntry"]
        return {
            **given(entry, self._names),
            "accessEntryArn": entry["accessEntryArn"],
            "createdAt": when(entry["createdAt"]),
            "modifiedAt": when(entry["modifiedAt"]),
            **tag_values(op, entry.get("tags")),
        }

    def change(self, op: Operation) -> None:
        if op.changed("kubernetesGroups", "userName"):
            groups = op.values.get("kubernetesGroups") or []
            op.client.update_access_entry(
                **_entry_of(op.id), kubernetesGroups=groups, **taken(op.values, {"userName": "username"})
            )
        if op.changed("tagsAll"):
            retag_by_arn(op, op.client.describe_access_entry(**_entry_of(op.id))["accessEntry"]["accessEntryArn"])

    def remove(self, op: Operation) -> None:
        op.client.delete_access_entry(**_entry_of(op.id))


class AccessPolicyAssociation(ServiceAdapter):
    token = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
    service = "eks"
    replaces = frozenset(("accessScope", "clusterName", "policyArn", "principalArn"))
    unordered = frozenset(("accessScope.namespaces",))

    def make(self, op: Operation) -> str:
        names = ("accessScope", "clusterName", "policyArn", "principalArn")
        op.client.associate_access_policy(**{name: op.values[name] for name in names})
        return "#".join(str(op.values[name]) for name in ("clusterName", "principalArn", "policyArn"))

    def look(self, op: Operation) -> Values | None:
        cluster, principal, policy = op.id.split("#", 2)
        pages = op.client.get_paginator("list_associated_access_policies").paginate(clusterName=cluster, principalArn=principal)
        for page in pages:
            for found in page["associatedAccessPolicies"]:
                if found["policyArn"] == policy:
                    return {
                        "accessScope": found["accessScope"],
                        "clusterName": cluster,
                        "policyArn": policy,
                        "principalArn": principal,
                        "associatedAt": when(found["associatedAt"]),
                        "modifiedAt": when(found["modifiedAt"]),
                    }
        return None

    def remove(self, op: Operation) -> None:
        cluster, principal, policy = op.id.split("#", 2)
        op.client.disassociate_access_policy(clusterName=cluster, principalArn=principal, policyArn=policy)


class PodIdentityAssociation(ServiceAdapter):
    token = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    service = "eks"
    replaces = frozenset(("clusterName", "namespace", "serviceAccount"))
    documents = frozenset(("policy",))

    _names: Final = {
        name: name
        for name in ("clusterName", "disableSessionTags", "namespace", "policy", "roleArn", "serviceAccount", "targetRoleArn")
    }

    def make(self, op: Operation) -> str:
        parameters = taken(op.values, self._names)
        return str(op.client.create_pod_identity_association(**parameters, tags=op.tags)["association"]["associationId"])

    def look(self, op: Operation) -> Values:
        found = op.client.describe_pod_identity_association(**self._of(op))["association"]
        outputs = {name: name for name in ("associationArn", "associationId", "externalId")}
        return {**given(found, {**self._names, **outputs}), **tag_values(op, found.get("tags"))}

    def change(self, op: Operation) -> None:
        changed = [name for name in ("disableSessionTags", "policy", "roleArn", "targetRoleArn") if op.changed(name)]
        if changed:
            empty = {"disableSessionTags": False}
            parameters = {name: op.values.get(name, empty.get(name, "")) for name in changed}
            op.client.update_pod_identity_association(**self._of(op), **parameters)
        if op.changed("tagsAll"):
            found = op.client.describe_pod_identity_association(**self._of(op))["association"]
            retag_by_arn(op, found["associationArn"])

    def remove(self, op: Operation) -> None:
        op.client.delete_pod_identity_association(**self._of(op))

    def _of(self, op: Operation) -> dict[str, str]:
        return {"clusterName": op.values["clusterName"], "associationId": op.id}


_ADDON: Final = {
    name: name
    for name in ("addonName", "addonVersion", "clusterName", "configurationValues", "namespaceConfig", "serviceAccountRoleArn")
}


def addon_parameters(inputs: Values) -> dict[str, Any]:
    """What CreateAddon takes, without tags."""
    others = {"podIdentityAssociations": "podIdentityAssociations", "resolveConflictsOnCreate": "resolveConflicts"}
    return taken(inputs, {**_ADDON, **others})


def addon_update(old: Values, new: Values) -> dict[str, Any]:
    """What UpdateAddon takes to get from one set of inputs to another; empty when nothing of it changes."""
    updatable = ("addonVersion", "configurationValues", "podIdentityAssociations", "serviceAccountRoleArn")
    changed = [name for name in updatable if old.get(name) != new.get(name)]
    if not changed:
        return {}
    parameters = taken(new, {name: name for name in changed})
    if "podIdentityAssociations" in changed:
        parameters.setdefault("podIdentityAssociations", [])
    if "configurationValues" in changed:
        parameters.setdefault("configurationValues", "{}")
    # A role that is not named again would be taken away.
    names = {"resolveConflictsOnUpdate": "resolveConflicts", "serviceAccountRoleArn": "serviceAccountRoleArn"}
    return {**parameters, **taken(new, names)}


def _association(op: Operation, arn: str) -> Values:
    cluster, association = arn.split("/")[1:3]
    found = op.client.describe_pod_identity_association(clusterName=cluster, associationId=association)["association"]
    return given(found, {"roleArn": "roleArn", "serviceAccount": "serviceAccount"})


def _addon_of(identity: str) -> dict[str, str]:
    cluster, _, name = identity.partition(":")
    return {"clusterName": cluster, "addonName": name}


def _entry_of(identity: str) -> dict[str, str]:
    cluster, _, principal = identity.partition(":")
    return {"clusterName": cluster, "principalArn": principal}
