"""What nodes are made from."""

from collections.abc import Iterator

from policy_pack.resources import Resource
from policy_pack.rule import Level, Rule, Severity, each
from policy_pack.values import at

_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_INSTANCE = "aws:ec2/instance:Instance"
_CLASS = "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"
_GROUP = "aws:eks/nodeGroup:NodeGroup"


def _metadata(resource: Resource) -> Iterator[str]:
    properties = at(resource.properties, "spec", default={}) if resource.type == _CLASS else resource.properties
    options = at(properties, "metadataOptions", default={})
    if at(options, "httpEndpoint") == "disabled":
        return
    if at(options, "httpTokens") != "required":
        yield "metadata answers without a token, also to whoever makes a server fetch a URL"
    # Karpenter's own default is 1 since v1.0, EC2's depends on the image.
    hops = at(options, "httpPutResponseHopLimit", default=1 if resource.type == _CLASS else None)
    if hops is None or hops > 1:
        yield "pods reach the node's metadata, and with it the node's role: the hop limit is not 1"


def _release(resource: Resource) -> Iterator[str]:
    if resource.type == _CLASS:
        for term in at(resource.properties, "spec", "amiSelectorTerms", default=[]):
            if str(at(term, "alias", default="")).endswith("@latest"):
                yield "the alias of its image ends in @latest"
    elif at(resource.properties, "amiType") != "CUSTOM" and not (
        _own_image(resource) or at(resource.properties, "releaseVersion")
    ):
        yield "no release of its image is named, so two nodes of one group may differ"


def _own_image(resource: Resource) -> bool:
    return at(resource.properties, "launchTemplate") is not None and at(resource.properties, "amiType") is None


RULES = (
    Rule(
        id="imds-v2",
        title="Instance metadata needs a token and is out of reach for pods.",
        reason="A server that can be made to fetch a URL else hands out the credentials of its node.",
        remedy="set httpTokens: required and httpPutResponseHopLimit: 1",
        source="https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        resource=each(_metadata, _TEMPLATE, _INSTANCE, _CLASS),
    ),
    Rule(
        id="node-image-release",
        title="Nodes name the release of their image.",
        reason="The newest image brings drivers nobody tested with the engine, on some nodes and not on others.",
        remedy="name the release, e.g. bottlerocket@v1.66.0 or releaseVersion",
        source="https://karpenter.sh/docs/tasks/managing-amis/",
        severity=Severity.MEDIUM,
        resource=each(_release, _CLASS, _GROUP),
    ),
)
