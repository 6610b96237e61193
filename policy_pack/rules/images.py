"""Which images pods run."""

from collections.abc import Iterator

from components.serving.engine_images import check_image
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity, each_pod
from policy_pack.values import as_far_as_known


def _images(pod: Pod) -> list[str]:
    """Each once, as far as they are known."""
    named = (container.get("image", "") for _, container in pod.containers)
    return list(dict.fromkeys(image for image in named if isinstance(image, str)))


def _pinned(pod: Pod) -> Iterator[str]:
    for image in _images(pod):
        try:
            check_image(image)
        except ValueError as error:
            # What the sentence advises is for engines; the rule has its own remedy.
            yield str(error).partition(";")[0]


def _by_digest(stack: Stack) -> Iterator[Finding]:
    """Each image once, however many pods run it."""
    owners: dict[str, Resource] = {}
    for pod in stack.pods:
        for image in as_far_as_known(_images, pod):
            if "@sha256:" not in image and image not in owners:
                owners[image] = pod.owner
    for image, owner in owners.items():
        yield Finding(owner, f"{image} has no digest, so whoever may push to its registry can change what runs")


RULES = (
    Rule(
        id="image-pinned",
        title="Images name a release or a digest.",
        reason="A tag that moves starts another program after a restart, and no preview shows it.",
        remedy="name the release, e.g. docker.io/vllm/vllm-openai:v0.33.0",
        source="https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each_pod(_pinned),
    ),
    Rule(
        id="image-digest",
        title="Images are named by digest.",
        reason="A tag can be pushed again; a digest is the content itself.",
        remedy="add the digest behind the tag, e.g. :v0.33.0@sha256:…",
        source="https://kubernetes.io/docs/concepts/containers/images/#image-names",
        severity=Severity.MEDIUM,
        stack=_by_digest,
    ),
)
