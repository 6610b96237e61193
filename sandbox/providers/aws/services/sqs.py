"""SQS: queues and their policies."""

from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import Operation, ServiceAdapter, document, retag, tag_values

_DOCUMENTS: Final = ("policy", "redrivePolicy")


class Queue(ServiceAdapter):
    token = "aws:sqs/queue:Queue"
    service = "sqs"
    replaces = frozenset(("fifoQueue", "name"))
    documents = frozenset(_DOCUMENTS)
    refused = frozenset(("namePrefix", "redriveAllowPolicy"))
    autoname = ("name", 80)

    # With the value each has when it is not set; SetQueueAttributes in the API reference on docs.aws.amazon.com.
    _attributes: Final = {
        "contentBasedDeduplication": ("ContentBasedDeduplication", "false"),
        "deduplicationScope": ("DeduplicationScope", "queue"),
        "delaySeconds": ("DelaySeconds", "0"),
        "fifoThroughputLimit": ("FifoThroughputLimit", "perQueue"),
        "kmsDataKeyReusePeriodSeconds": ("KmsDataKeyReusePeriodSeconds", "300"),
        "kmsMasterKeyId": ("KmsMasterKeyId", ""),
        "maxMessageSize": ("MaximumMessageSize", "262144"),
        "messageRetentionSeconds": ("MessageRetentionPeriod", "345600"),
        "policy": ("Policy", ""),
        "receiveWaitTimeSeconds": ("ReceiveMessageWaitTimeSeconds", "0"),
        "redrivePolicy": ("RedrivePolicy", ""),
        "sqsManagedSseEnabled": ("SqsManagedSseEnabled", "true"),
        "visibilityTimeoutSeconds": ("VisibilityTimeout", "30"),
    }

    def make(self, op: Operation) -> str:
        attributes = {theirs: _text(op.values[ours]) for ours, (theirs, _) in self._attributes.items() if ours in op.values}
        if op.values.get("fifoQueue"):
            attributes["FifoQueue"] = "true"
        return str(op.client.create_queue(QueueName=op.values["name"], Attributes=attributes, tags=op.tags)["QueueUrl"])

    def look(self, op: Operation) -> Values:
        found = op.client.get_queue_attributes(QueueUrl=op.id, AttributeNames=["All"])["Attributes"]
        values = {ours: _value(found.get(theirs)) for ours, (theirs, _) in self._attributes.items()}
        values |= {name: document(values[name], op.values.get(name)) for name in _DOCUMENTS if values[name]}
        return {
            **values,
            "fifoQueue": found.get("FifoQueue") == "true",
            "name": op.id.rpartition("/")[2],
            "arn": found["QueueArn"],
            "url": op.id,
            **tag_values(op, op.client.list_queue_tags(QueueUrl=op.id).get("Tags")),
        }

    def change(self, op: Operation) -> None:
        changed = {ours: names for ours, names in self._attributes.items() if op.changed(ours)}
        if changed:
            attributes = {
                theirs: default if op.values.get(ours) is None else _text(op.values[ours])
                for ours, (theirs, default) in changed.items()
            }
            op.client.set_queue_attributes(QueueUrl=op.id, Attributes=attributes)
        retag(
            op,
            lambda tags: op.client.tag_queue(QueueUrl=op.id, Tags=tags),
            lambda keys: op.client.untag_queue(QueueUrl=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_queue(QueueUrl=op.id)


class QueuePolicy(ServiceAdapter):
    token = "aws:sqs/queuePolicy:QueuePolicy"
    service = "sqs"
    replaces = frozenset(("queueUrl",))
    documents = frozenset(("policy",))

    def make(self, op: Operation) -> str:
        self._set(op, op.values["queueUrl"], op.values["policy"])
        return str(op.values["queueUrl"])

    def look(self, op: Operation) -> Values | None:
        attributes = op.client.get_queue_attributes(QueueUrl=op.id, AttributeNames=["Policy"]).get("Attributes") or {}
        policy = attributes.get("Policy")
        return policy and {"queueUrl": op.id, "policy": document(policy, op.values.get("policy"))}

    def change(self, op: Operation) -> None:
        self._set(op, op.id, op.values["policy"])

    def remove(self, op: Operation) -> None:
        self._set(op, op.id, "")

    def _set(self, op: Operation, queue: str, policy: str) -> None:
        op.client.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


def _text(value: Any) -> str:
    """An attribute as the API writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str | None) -> Any:
    """An attribute as Pulumi writes it; None for one that is not set."""
    if not text:
        return None
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text
