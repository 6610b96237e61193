"""EventBridge rules and targets, and log groups; pulumi-aws calls all of them `cloudwatch`."""

import hashlib
from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    Operation,
    ServiceAdapter,
    camel,
    document,
    given,
    pascal,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
)

_DEFAULT_BUS: Final = "default"


class EventRule(ServiceAdapter):
    token = "aws:cloudwatch/eventRule:EventRule"
    service = "events"
    replaces = frozenset(("eventBusName", "name"))
    documents = frozenset(("eventPattern",))
    write_only = frozenset(("forceDestroy",))
    refused = frozenset(("isEnabled", "namePrefix"))
    autoname = ("name", 64)

    _names: Final = {
        "description": "Description",
        "eventBusName": "EventBusName",
        "eventPattern": "EventPattern",
        "name": "Name",
        "roleArn": "RoleArn",
        "scheduleExpression": "ScheduleExpression",
        "state": "State",
    }

    def make(self, op: Operation) -> str:
        # The tags of a rule are only taken when it is made.
        op.client.put_rule(**taken(op.values, self._names), **({"Tags": tag_list(op.tags)} if op.tags else {}))
        bus = op.values.get("eventBusName") or _DEFAULT_BUS
        return str(op.values["name"]) if bus == _DEFAULT_BUS else f"{bus}/{op.values['name']}"

    def look(self, op: Operation) -> Values:
        rule = op.client.describe_rule(**_rule_of(op.id))
        tags = op.client.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
        pattern = rule.get("EventPattern")
        return {
            **given(rule, {**self._names, "arn": "Arn"}),
            "eventPattern": pattern and document(pattern, op.values.get("eventPattern")),
            **tag_values(op, tag_map(tags)),
        }

    def change(self, op: Operation) -> None:
        op.client.put_rule(**taken(op.values, self._names))
        arn = op.client.describe_rule(**_rule_of(op.id))["Arn"]
        retag(
            op,
            lambda tags: op.client.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: op.client.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        rule = _rule_of(op.id)
        if op.values.get("forceDestroy"):
            targets = op.client.list_targets_by_rule(Rule=rule["Name"], EventBusName=rule["EventBusName"])["Targets"]
            if targets:
                _remove_targets(op.client, rule["Name"], rule["EventBusName"], [target["Id"] for target in targets])
        op.client.delete_rule(**rule)


class EventTarget(ServiceAdapter):
    token = "aws:cloudwatch/eventTarget:EventTarget"
    service = "events"
    replaces = frozenset(("eventBusName", "rule", "targetId"))
    documents = frozenset(("input",))
    write_only = frozenset(("forceDestroy",))
    # Targets of the services that the account does not have.
    refused = frozenset(
        (
            "appsyncTarget",
            "batchTarget",
            "ecsTarget",
            "httpTarget",
            "kinesisTarget",
            "redshiftTarget",
            "runCommandTargets",
            "sagemakerPipelineTarget",
        )
    )

    _texts: Final = {"arn": "Arn", "input": "Input", "inputPath": "InputPath", "roleArn": "RoleArn"}
    _parts: Final = {
        "deadLetterConfig": "DeadLetterConfig",
        "retryPolicy": "RetryPolicy",
        "sqsTarget": "SqsParameters",
    }
    _spelled: Final = {"inputPaths": "InputPathsMap"}

    def make(self, op: Operation) -> str:
        bus = op.values.get("eventBusName") or _DEFAULT_BUS
        target = op.values.get("targetId") or _unnamed(op)
        self._put(op, bus, op.values["rule"], target)
        rule = op.values["rule"]
        return f"{rule}-{target}" if bus == _DEFAULT_BUS else f"{bus}-{rule}-{target}"

    def look(self, op: Operation) -> Values | None:
        bus, rule = op.values.get("eventBusName") or _DEFAULT_BUS, op.values["rule"]
        name = op.id.removeprefix(f"{bus}-").removeprefix(f"{rule}-")
        for target in op.client.list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]:
            if target["Id"] == name:
                transformer = target.get("InputTransformer")
                return {
                    **given(target, self._texts),
                    **{ours: camel(target.get(theirs)) for ours, theirs in self._parts.items()},
                    "inputTransformer": transformer and _transformer_values(transformer),
                    "eventBusName": bus,
                    "rule": rule,
                    "targetId": name,
                }
        return None

    def change(self, op: Operation) -> None:
        bus, rule = op.old.get("eventBusName") or _DEFAULT_BUS, op.old["rule"]
        self._put(op, bus, rule, op.id.removeprefix(f"{bus}-").removeprefix(f"{rule}-"))

    def remove(self, op: Operation) -> None:
        _remove_targets(op.client, op.values["rule"], op.values["eventBusName"], [op.values["targetId"]])

    def _put(self, op: Operation, bus: str, rule: str, name: str) -> None:
        target = {
            "Id": name,
            **taken(op.values, self._texts),
            **{theirs: pascal(part) for theirs, part in taken(op.values, self._parts).items()},
        }
        if transformer := op.values.get("inputTransformer"):
            target["InputTransformer"] = {
                "InputTemplate": transformer["inputTemplate"],
                **taken(transformer, {"inputPaths": "InputPathsMap"}),
            }
        op.client.put_targets(Rule=rule, EventBusName=bus, Targets=[target])


class LogGroup(ServiceAdapter):
    token = "aws:cloudwatch/logGroup:LogGroup"
    service = "logs"
    replaces = frozenset(("logGroupClass", "name"))
    write_only = frozenset(("skipDestroy",))
    refused = frozenset(("deletionProtectionEnabled", "namePrefix"))
    autoname = ("name", 512)

    def make(self, op: Operation) -> str:
        names = {"kmsKeyId": "kmsKeyId", "logGroupClass": "logGroupClass", "name": "logGroupName"}
        op.client.create_log_group(**taken(op.values, names), **({"tags": op.tags} if op.tags else {}))
        name = str(op.values["name"])
        if days := op.values.get("retentionInDays"):
            op.client.put_retention_policy(logGroupName=name, retentionInDays=days)
        return name

    def look(self, op: Operation) -> Values | None:
        for page in op.client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=op.id):
            for group in page["logGroups"]:
                if group["logGroupName"] == op.id:
                    arn = group["arn"].removesuffix(":*")
                    tags = op.client.list_tags_for_resource(resourceArn=arn)["tags"]
                    return {
                        "name": op.id,
                        "kmsKeyId": group.get("kmsKeyId"),
                        "logGroupClass": group.get("logGroupClass", "STANDARD"),
                        "retentionInDays": group.get("retentionInDays", 0),
                        "arn": arn,
                        **tag_values(op, tags),
                    }
        return None

    def change(self, op: Operation) -> None:
        if op.changed("retentionInDays"):
            if days := op.values.get("retentionInDays"):
                op.client.put_retention_policy(logGroupName=op.id, retentionInDays=days)
            else:
                op.client.delete_retention_policy(logGroupName=op.id)
        if op.changed("kmsKeyId"):
            if key := op.values.get("kmsKeyId"):
                op.client.associate_kms_key(logGroupName=op.id, kmsKeyId=key)
            else:
                op.client.disassociate_kms_key(logGroupName=op.id)
        arn = f"arn:{op.account.partition}:logs:{op.account.region}:{op.account.account_id}:log-group:{op.id}"
        retag(
            op,
            lambda tags: op.client.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: op.client.untag_resource(resourceArn=arn, tagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        if not op.values.get("skipDestroy"):
            op.client.delete_log_group(logGroupName=op.id)


def _unnamed(op: Operation) -> str:
    """The ID of a target that has none: the same whenever its creation is repeated."""
    return "terraform-" + hashlib.sha256(op.account.urn.encode()).hexdigest()[:26]


def _rule_of(identity: str) -> dict[str, str]:
    bus, _, name = identity.rpartition("/")
    return {"EventBusName": bus or _DEFAULT_BUS, "Name": name}


def _remove_targets(events: Any, rule: str, bus: str, targets: list[str]) -> None:
    events.remove_targets(Rule=rule, EventBusName=bus, Ids=targets)


def _transformer_values(transformer: dict[str, Any]) -> Values:
    return {"inputTemplate": transformer["InputTemplate"], "inputPaths": dict(transformer.get("InputPathsMap") or {})}
