"""The secrets of a stack file as a rehearsal has them.

What is encrypted there opens for nobody here, and what is sealed opens in one cluster only: values are made up, and encrypted and
sealed anew. What came of each original is kept beside the stack file of the workspace.
"""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

import settings
from components.secrets.kinds import SecretType
from sandbox.control_plane.files import write_private
from sandbox.errors import SandboxError
from sandbox.secrets.made_up import Inventor
from sandbox.secrets.sealing import label, load_key, seal
from settings.secrets import VALUES, SecretsSettings, StoreKind

_VALUES: Final = f"{settings.PROJECT}:{VALUES}"
_SET_S: Final = 60.0

Config = dict[str, Any]
Steps = tuple[str | int, ...]
"""The way to a part of a configuration."""
Kept = dict[str, str]
"""What stands for each original: a text that is encrypted or sealed."""


@dataclass(frozen=True)
class Prepared:
    """A configuration that can be rehearsed, but for the values that have to be encrypted yet."""

    config: Config
    kept: Kept
    missing: Mapping[Steps, str]
    origins: Mapping[Steps, str]
    """Under what each of them will be kept."""


def read_kept(file: Path) -> Kept:
    """What was made before; nothing where there is no such file."""
    found: Kept = json.loads(file.read_text()) if file.exists() else {}
    return found


def prepare(config: Config, secrets: SecretsSettings | None, inventor: Inventor, sealing_key: Path, kept: Kept) -> Prepared:
    """`config` with what was kept; `secrets` is its section, None for a program that is not this one.

    `sealing_key` is the file of the key for sealed values; there need be none without such.
    """
    made, kept = deepcopy(config), dict(kept)
    missing: dict[Steps, str] = {}
    origins: dict[Steps, str] = {}
    for steps, text in _encrypted(config):
        origin = _digest(path(steps), text)
        if origin in kept:
            _put(made, steps, {"secure": kept[origin]})
        else:
            origins[steps] = origin
            missing[steps] = _value(config, secrets, steps, inventor)
            _remove(made, steps)
    if secrets and secrets.store.kind is StoreKind.SEALED_SECRETS:
        key = load_key(sealing_key.read_bytes()).public_key()
        for name, namespace, sealed_key in _sealed(secrets):
            item = secrets.items[name]
            steps = (f"{settings.PROJECT}:secrets", "items", name, "keys", sealed_key, "sealed", namespace)
            bound_to = label(namespace, item.secret_name(name), {})
            origin = _digest(path(steps), item.sealed(namespace)[sealed_key], bound_to.decode(), str(key.public_numbers().n))
            if origin not in kept:
                value = inventor.value(item.type, sealed_key, name, _digest(json.dumps(item.sealed(namespace), sort_keys=True)))
                kept[origin] = base64.b64encode(seal(key, value.encode(), bound_to)).decode()
            _put(made, steps, kept[origin])
    return Prepared(made, kept, missing, origins)


def encrypt(prepared: Prepared, workspace: Path, stack: str, stack_file: Path, environment: Mapping[str, str]) -> Kept:
    """Have the engine encrypt what is missing, into the stack file of the workspace. Values go by pipes, never as arguments.

    Raises SandboxError with what the engine says.
    """
    kept = dict(prepared.kept)
    for steps, value in prepared.missing.items():
        command = ["pulumi", "config", "set", "--secret", "--path", "--stack", stack, "--non-interactive", path(steps)]
        done = subprocess.run(
            command,
            cwd=workspace,
            env=dict(environment),
            input=value,
            capture_output=True,
            text=True,
            timeout=_SET_S,
            check=False,
        )
        if done.returncode != 0:
            raise SandboxError(f"cannot encrypt {path(steps)} for the rehearsal: {done.stderr.strip()}")
    if prepared.missing:
        content = yaml.safe_load(stack_file.read_text())["config"]
        for steps, text in _encrypted(content):
            if steps in prepared.missing:
                kept[prepared.origins[steps]] = text
    return kept


def write_kept(file: Path, kept: Kept) -> None:
    """For the next run."""
    write_private(file, json.dumps(kept, indent=1, sort_keys=True))


def path(steps: Steps) -> str:
    """A place as `pulumi config set --path` takes it."""
    text = str(steps[0])
    for step in steps[1:]:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if step.replace("-", "").replace("_", "").isalnum() else f"[{json.dumps(step)}]"
    return text


def _value(config: Config, secrets: SecretsSettings | None, steps: Steps, inventor: Inventor) -> str:
    """What is encrypted at that place, made up in the form that is wanted of it."""
    place, beside = steps[:-1], _at(config, steps[:-1])
    if secrets and steps[0] == _VALUES:
        of = secrets.items[str(steps[1])].type
        if of is SecretType.TLS:  # its values belong together, and so change together
            return inventor.value(of, str(steps[2]), path(place), _digest(json.dumps(beside, sort_keys=True)))
    return inventor.text(path(steps), _digest(_at(config, steps)["secure"]))


def _encrypted(config: Any, above: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Every encrypted text with the way to it."""
    if isinstance(config, Mapping):
        if set(config) == {"secure"} and isinstance(config["secure"], str):
            yield above, config["secure"]
            return
        for key, value in config.items():
            yield from _encrypted(value, (*above, key))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from _encrypted(value, (*above, index))


def _sealed(secrets: SecretsSettings) -> Iterator[tuple[str, str, str]]:
    """Item, namespace and key of every sealed text."""
    for name, item in secrets.items.items():
        for key, of in item.keys.items():
            for namespace in of.sealed or {}:
                yield name, namespace, key


def _at(config: Any, steps: Steps) -> Any:
    for step in steps:
        config = config[step]
    return config


def _put(config: Config, steps: Steps, value: object) -> None:
    _at(config, steps[:-1])[steps[-1]] = value


def _remove(config: Config, steps: Steps) -> None:
    """Takes a value out; what would be empty then too: the engine makes it again."""
    above = _at(config, steps[:-1])
    del above[steps[-1]]
    if not above and len(steps) > 1:
        _remove(config, steps[:-1])


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
