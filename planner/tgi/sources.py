"""Where TGI's arguments are read: a command line, a file with variables, a manifest of Kubernetes. No secret is kept."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from planner.request import RequestError
from planner.tgi.launcher import Elsewhere, SecretRef, Value, flags, from_environment, from_words

_LAUNCHER = "text-generation-launcher"
_IMAGE = re.compile(r"(^|.*/)(text-generation-inference|huggingface-pytorch-tgi-inference|tgi)(:(?P<tag>[\w.-]+))?(@.*)?")
_RELEASE = re.compile(r"(?:^v?|tgi)(\d+\.\d+\.\d+)")
_ENDS = ("&&", "||", ";", "|", "&")
_RUNNERS = ("docker", "podman", "nerdctl")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN")
"""Variables with a token of Hugging Face (launcher/src/main.rs, router/src/server.rs)."""
CLEAR_TEXT = Elsewhere("clear text")
"""A secret that anybody could read where it was found."""
_GPU = re.compile(r"(nvidia\.com/(gpu|mig-.+)|amd\.com/gpu)(\.shared)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How TGI is started somewhere."""

    arguments: Mapping[str, Value]
    """By argument; the command line goes before the environment, as in the launcher."""
    variables: Mapping[str, Value]
    """The rest of its environment."""
    name: str | None = None
    """What its workload is called."""
    version: str | None = None
    """Release of TGI that the image's tag names."""
    replicas: int | None = None
    accelerators: int | None = None
    """Accelerators of its container."""

    def text(self, flag: str) -> str | None:
        """The value of an argument, where it can be read here."""
        value = self.arguments.get(flag)
        return value if isinstance(value, str) else None

    def count(self, flag: str) -> int | None:
        """The same as a whole number."""
        value = self.text(flag)
        return None if value is None else int(value)

    def number(self, flag: str) -> float | None:
        """The same as a number."""
        value = self.text(flag)
        return None if value is None else float(value)

    def on(self, flag: str) -> bool:
        """Whether a switch is on."""
        return self.text(flag) == "true"


def from_command(words: Sequence[str], environment: Mapping[str, Value] | None = None) -> Launch:
    """A command line: the launcher's arguments alone, after its name, or after the image in `docker run …`."""
    given = dict(environment or {})
    words = list(words)
    if words and words[0].rpartition("/")[2] == "sudo":
        words = words[1:]
    version, accelerators = None, None
    if words and words[0] in _RUNNERS:
        words, version, accelerators = _from_runner(words, given)
    after = _after_launcher(words)
    return _launch(words if after is None else after, given, version=version, accelerators=accelerators)


def from_env_file(text: str) -> dict[str, Value]:
    """Variables of a file with a NAME=value a line. Raises RequestError for another line."""
    found: dict[str, Value] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().removeprefix("export ")
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise RequestError(f"line {number} of the environment is no NAME=value")
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[name.strip()] = value[1:-1] if quoted else value
    return found


def from_manifest(text: str) -> Launch:
    """The container with TGI in manifests of Kubernetes. Raises RequestError where there is not exactly one."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if isinstance(each, Mapping)]
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        raise RequestError(f"the manifest is not YAML{f' (line {where.line + 1})' if where else ''}") from None
    objects = [inner for each in documents for inner in (each.get("items") or [each])]
    maps = {_name(each): each.get("data") or {} for each in objects if each.get("kind") == "ConfigMap"}
    found = [(each, spec, container) for each in objects for spec in _pods(each) for container in _containers(spec)]
    if len(found) != 1:
        raise RequestError(
            f"the manifest has {len(found) or 'no'} containers with text-generation-inference; give the one that is meant"
        )
    workload, _, container = found[0]
    environment = dict(_environment(container, maps))
    words = [str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ()))]
    limits = (container.get("resources") or {}).get("limits") or {}
    cards = [int(count) for resource, count in limits.items() if _GPU.fullmatch(str(resource))]
    replicas = (workload.get("spec") or {}).get("replicas")
    return _launch(
        _from_shell(words),
        environment,
        name=_name(workload),
        version=_version(str(container.get("image") or "")),
        replicas=replicas if isinstance(replicas, int) else None,
        accelerators=sum(cards) or None,
    )


def _launch(words: Sequence[str], environment: Mapping[str, Value], **facts: Any) -> Launch:
    by_variable, others = from_environment(environment)
    arguments = {**by_variable, **from_words(words, environment)}
    return Launch(
        arguments={name: _hidden(value) if flags()[name].secret else value for name, value in arguments.items()},
        variables={name: _hidden(value) if name in TOKENS else value for name, value in others.items()},
        **facts,
    )


def _hidden(value: Value) -> Value:
    return CLEAR_TEXT if isinstance(value, str) else value


def _from_runner(words: Sequence[str], environment: dict[str, Value]) -> tuple[list[str], str | None, int | None]:
    """What follows the image in `docker run …`; the variables given before it are put into `environment`."""
    at = next((index for index, word in enumerate(words) if _IMAGE.fullmatch(word)), None)
    if at is None:
        raise RequestError(f"{words[0]} run names no image of text-generation-inference; give the launcher's arguments alone")
    accelerators = None
    options = iter(words[:at])
    for word in options:
        name, equals, value = word.partition("=")
        if name in ("-e", "--env", "--gpus", "--env-file"):
            value = value if equals else next(options, "")
        if name == "--env-file":
            raise RequestError("--env-file: the file is not read from there; give it to this command, as --env FILE")
        if name in ("-e", "--env"):
            variable, has_value, plain = value.partition("=")
            environment[variable] = plain if has_value else Elsewhere("the environment of the command")
        elif name == "--gpus":
            devices = re.fullmatch(r"[\"']?device=([\w,-]+)[\"']?", value)
            accelerators = int(value) if value.isdigit() else len(devices[1].split(",")) if devices else None
    return list(words[at + 1 :]), _version(words[at]), accelerators


def _version(image: str) -> str | None:
    tag = _IMAGE.fullmatch(image)
    found = _RELEASE.search(tag["tag"] or "") if tag else None
    return found[1] if found else None


def _after_launcher(words: Sequence[str]) -> list[str] | None:
    """What follows the launcher's name, up to the end of its command."""
    at = next((index for index, word in enumerate(words) if word.rpartition("/")[2] == _LAUNCHER), None)
    if at is None:
        return None
    after = list(words[at + 1 :])
    end = next((index for index, word in enumerate(after) if word in _ENDS), len(after))
    return after[:end]


def _from_shell(words: Sequence[str]) -> list[str]:
    """The launcher's words in the command of a container, whoever starts it there."""
    if (after := _after_launcher(words)) is not None:
        return after
    scripts = [word for word in words if _LAUNCHER in word]
    if scripts:
        try:
            return _after_launcher(shlex.split(scripts[0].replace("\\\n", " "))) or []
        except ValueError:
            raise RequestError(
                "the container's script cannot be read; give what follows text-generation-launcher in it"
            ) from None
    # The image's own entry point is the launcher; what stands there else may be a path to another one.
    return list(words) if not words or words[0].startswith("-") else list(words[1:])


def _name(of: Mapping[str, Any]) -> str | None:
    return (of.get("metadata") or {}).get("name")


def _pods(of: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The pod specs of an object, whatever kind it is."""
    spec = of.get("spec")
    if not isinstance(spec, Mapping):
        return
    template = spec.get("template")
    if isinstance(template, Mapping) and isinstance(template.get("spec"), Mapping):
        yield template["spec"]
    elif "containers" in spec:
        yield spec


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for container in spec.get("containers") or ():
        words = [str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ()))]
        if _IMAGE.fullmatch(str(container.get("image") or "")) or any(_LAUNCHER in word for word in words):
            yield container


def _environment(container: Mapping[str, Any], maps: Mapping[str | None, Mapping[str, Any]]) -> Iterator[tuple[str, Value]]:
    for source in container.get("envFrom") or ():
        named = (source.get("configMapRef") or {}).get("name")
        yield from ((name, str(value)) for name, value in maps.get(named, {}).items())
        if named is not None and named not in maps:
            yield f"ConfigMap {named}", Elsewhere(f"ConfigMap {named}, which the manifest does not have")
        secret = (source.get("secretRef") or {}).get("name")
        if secret is not None:
            yield f"Secret {secret}", Elsewhere(f"Secret {secret}")
    for variable in container.get("env") or ():
        yield str(variable["name"]), _value(variable, maps)


def _value(variable: Mapping[str, Any], maps: Mapping[str | None, Mapping[str, Any]]) -> Value:
    source = variable.get("valueFrom") or {}
    if "secretKeyRef" in source:
        return SecretRef(str(source["secretKeyRef"].get("name")), str(source["secretKeyRef"].get("key")))
    if "configMapKeyRef" in source:
        name, key = source["configMapKeyRef"].get("name"), source["configMapKeyRef"].get("key")
        if key in maps.get(name, {}):
            return str(maps[name][key])
        return Elsewhere(f"ConfigMap {name}")
    if source:
        return Elsewhere("the pod itself")
    plain = variable.get("value")
    # YAML's true and false are no text of Kubernetes, but some write them.
    return str(plain).lower() if isinstance(plain, bool) else str(plain if plain is not None else "")
