"""Where secrets lie."""

import base64
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.secretive import looks_secret, names_secret
from policy_pack.resources import Pod, Resource
from policy_pack.rule import Level, Rule, Severity, each_container
from policy_pack.values import UNKNOWN, as_far_as_known, at, listed, shown, texts
from policy_pack.wire import Path

_RELEASES = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart", "kubernetes:helm.sh/v3:Chart")
_USER_DATA = (
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ec2/instance:Instance",
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass",
)


_USER = re.compile(r"\b[a-z][\w+.-]*://[^\s/:@\"']*:(?![$<{])[^\s/@\"']+@")
"""A user with a password in an address, unless something puts it there later."""
_AWS_KEY = re.compile(r"[A-Za-z0-9+][A-Za-z0-9/+]{39}")
_NO_VALUE = re.compile(r"[-/.$<{].*|\d+|true|false|none|null|", re.IGNORECASE)
"""What behind a flag is no secret: another flag, a file, something put there later, a number."""


def _is_open(resource: Resource, path: Path) -> bool:
    """Whether others read what is there without being given a secret: in pods, ConfigMaps, user data, annotations."""
    if resource.kind == "ConfigMap" and path[0] in ("data", "binaryData"):
        return True
    words = [step for step in path if isinstance(step, str)]
    if ("metadata", "annotations") in itertools.pairwise(words):  # of the object, and of the pods it makes
        return resource.kind != "Secret"
    if resource.type in _USER_DATA and words[-1] in ("userData", "userDataBase64"):
        return True
    in_container = resource.kind and not {"containers", "initContainers"}.isdisjoint(words)
    return bool(in_container) and words[-1] in ("args", "command", "value")


def _literal(resource: Resource) -> Iterator[str]:
    for path, text in texts(resource.properties):
        if _is_open(resource, path) and not resource.is_secret(path) and _holds_secret(text):
            yield f"{shown(path)} looks like a secret"
    yield from _NAMED(resource)
    if resource.type in _RELEASES:
        for path, text in texts(resource.properties.get("values"), ("values",)):
            if not resource.is_secret(path) and (_holds_secret(text) or (text and _names_value(str(path[-1])))):
                yield f"{shown(path)} looks like a secret"


def _holds_secret(text: str) -> bool:
    """Whether a credential is among the words of a text, which may be a whole program, or one in base64."""
    plain = _decoded(text) or text
    words = re.findall(r"[^\s\"'`=:,;()\[\]{}<>]+", plain)
    found = (word for word in words if re.search(r"\d", word))
    return bool("PRIVATE KEY-----" in plain or _USER.search(plain)) or any(map(_is_credential, found))


def _is_credential(word: str) -> bool:
    # A secret key of AWS is one word, though it may have / and + in it.
    whole = re.sub(r"[/+]", "", word) if _AWS_KEY.fullmatch(word) else word
    return looks_secret(word) or looks_secret(whole)


def _decoded(text: str) -> str:
    """What a text means in base64; empty where it is none."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def _names_value(key: str) -> bool:
    """Whether a chart's value of that name is a secret itself; `existingSecret` and the like only name one."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return names_secret(snake) and not snake.upper().endswith("SECRET")


def _named(_pod: Pod, where: str, container: Mapping[str, Any]) -> Iterator[str]:
    given = [*as_far_as_known(listed, container, "command"), *as_far_as_known(listed, container, "args")]
    words = [word for text in given for word in (str(text).split() if text is not UNKNOWN else [""])]
    for flag, following in itertools.pairwise([*words, ""]):
        name, equals, value = flag.partition("=")
        is_flag = name.startswith("-") and _names_value(name.lstrip("-").replace("-", "_"))
        if is_flag and not _NO_VALUE.fullmatch(value if equals else following):
            yield f"{where}: {name} has its value written out"
    for variable in at(container, "env", default=[]):
        if names_secret(str(at(variable, "name", default=""))) and at(variable, "value"):
            yield f"{where}.env: {variable['name']} has its value written out"


_NAMED = each_container(_named)


def _exposed(resource: Resource) -> Iterator[str]:
    # Also of what is not known yet it is known that it is secret.
    places = {path for path in resource.secrets if _is_open(resource, path)}
    places |= {path for path, _ in texts(resource.properties) if _is_open(resource, path) and resource.is_secret(path)}
    for path in sorted(map(shown, places)):
        yield f"{path} is a secret of the program, and everybody who may read the object reads it there"


def _in_state(resource: Resource) -> Iterator[str]:
    if resource.kind == "Secret":
        for group in ("data", "stringData"):
            for path, _ in texts(resource.properties.get(group), (group,)):
                if not resource.is_secret(path):
                    yield f"{shown(path)} is no secret to Pulumi, so it lies readable in the state and in previews"


def _in_environment(_pod: Pod, where: str, container: Mapping[str, Any]) -> Iterator[str]:
    for variable in at(container, "env", default=[]):
        if at(variable, "valueFrom", "secretKeyRef"):
            yield f"{where}.env: {at(variable, 'name', default='a variable')} has a secret as its value"
    for source in at(container, "envFrom", default=[]):
        if at(source, "secretRef"):
            yield f"{where}.envFrom takes a whole Secret"


RULES = (
    Rule(
        id="secret-literal",
        title="No secret is written out in arguments, environment, ConfigMaps, annotations, Helm values or user data.",
        reason="Everybody who may read pods, releases or launch templates reads it, and so does everybody with the state.",
        remedy="keep it in a Secret, or make it a Pulumi secret where the provider keeps it in one",
        source="https://kubernetes.io/docs/concepts/security/secrets-good-practices/",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        resource=_literal,
    ),
    Rule(
        id="secret-exposed",
        title="What the program holds secret does not end in an object that is not.",
        reason="Pulumi keeps it out of state and previews, while the cluster or the cloud shows it to every reader.",
        remedy="put it into a Secret and mount that as a file",
        source="https://www.pulumi.com/docs/iac/concepts/secrets/",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        resource=_exposed,
    ),
    Rule(
        id="secret-in-state",
        title="What is in a Secret is a secret to Pulumi too.",
        reason="The state of a stack holds every input, and only Pulumi secrets are encrypted there.",
        remedy="wrap it, e.g. pulumi.Output.secret(value), or set it with `pulumi config set --secret`",
        source="https://www.pulumi.com/docs/iac/concepts/secrets/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=_in_state,
    ),
    Rule(
        id="secret-environment",
        title="Pods read secrets from files, not from the environment.",
        reason="A process hands its environment to every child, crash report and debug page (vLLM's /server_info among them).",
        remedy="mount the Secret as a volume and name the file, e.g. HF_TOKEN_PATH",
        source="https://kubernetes.io/docs/concepts/security/secrets-good-practices/",
        severity=Severity.MEDIUM,
        resource=each_container(_in_environment),
    ),
)
