"""Reading stack files; the only reader of `pulumi.Config`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config

from components.inputs import InputError, validate
from settings.secrets import VALUES
from settings.sections import Settings

PROJECT = "llm-platform"
_SECRETS = f"{PROJECT}:{VALUES}"


def load() -> Settings:
    """The settings of the stack that runs. Raises InputError with one sentence for every fault."""
    config = pulumi.Config(PROJECT)
    prefix = f"{PROJECT}:"
    keys = [key for key in {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()} if key.startswith(prefix)]
    raw = {key.removeprefix(prefix): _plain(config.get(key.removeprefix(prefix)) or "") for key in keys if key != _SECRETS}
    where = stack_file(pulumi.get_stack())
    return validate(Settings, raw | {VALUES: {item: list(keys) for item, keys in _values(where).items()}}, where)


def secret_values() -> dict[str, dict[str, pulumi.Output[str]]]:
    """The encrypted values of the stack that runs, by item and key; outputs that are secret. Raises InputError as `load`."""
    found = _values(stack_file(pulumi.get_stack()))
    return {item: {key: pulumi.Output.secret(value) for key, value in keys.items()} for item, keys in found.items()}


def from_file(path: Path, where: str) -> Settings:
    """The settings in the stack file at `path`, named `where` in messages, without running anything."""
    return from_config(read_stack_file(path, where), where)


def from_config(config: Mapping[str, Any], where: str) -> Settings:
    """The settings in the `config` mapping of a stack file that was read already."""
    prefix = f"{PROJECT}:"
    raw = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix) and key != _SECRETS}
    values = _texts(config.get(_SECRETS), where, encrypted=True)
    return validate(Settings, raw | {VALUES: {item: list(keys) for item, keys in values.items()}}, where)


def read_stack_file(path: Path, where: str) -> dict[str, Any]:
    """The `config` mapping of the stack file at `path`."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}); the stacks of this project lie in stacks/") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"{where}: is not YAML{place}: {problem}; compare it with stacks/Pulumi.local.yaml") from None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not config:
        raise InputError(
            f"{where}: has no settings; start with a line `config:` and the sections of stacks/Pulumi.local.yaml below"
        )
    return config


def stack_file(stack: str) -> str:
    """Path of a stack's file from the root of the project."""
    return f"stacks/Pulumi.{stack}.yaml"


def json_schema() -> dict[str, Any]:
    """JSON Schema of a stack file, for editors."""
    sections = Settings.model_json_schema(by_alias=True)
    definitions = sections.pop("$defs")
    config = {f"{PROJECT}:{name}": schema for name, schema in sections["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack file of llm-platform",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "required": [f"{PROJECT}:{name}" for name in sections["required"]],
                "properties": config,
                # Other namespaces (pulumi:, aws:, sandbox:) are free; a misspelt section of ours is not.
                "patternProperties": {f"^(?!{PROJECT}:)": {}},
                "additionalProperties": False,
            }
        },
        "$defs": definitions,
    }


def _values(where: str) -> dict[str, dict[str, str]]:
    """The section of values as the engine decrypted it."""
    text = pulumi_config.get_config(_SECRETS)
    if text is None:
        return {}
    if not pulumi_config.is_config_secret(_SECRETS):
        raise InputError(_not_encrypted(where, ""))
    # To the engine the section is a secret as a whole as soon as one value in it is; only the file tells of each.
    _texts(read_stack_file(Path(where), where).get(_SECRETS), where, encrypted=True)
    return _texts(_plain(text), where, encrypted=False)


def _texts(section: object, where: str, *, encrypted: bool) -> dict[str, dict[str, str]]:
    """The texts of a section of values by item and key, still encrypted or not any more. No message quotes one."""
    found: dict[str, dict[str, str]] = {}
    if section is None:
        return found
    if not isinstance(section, Mapping):
        raise InputError(_not_encrypted(where, ""))
    for item, keys in section.items():
        if not isinstance(keys, Mapping) or "secure" in keys:
            raise InputError(_not_encrypted(where, f".{item}"))
        found[item] = {}
        for key, value in keys.items():
            text = _ciphertext(value) if encrypted else value
            if not isinstance(text, str):
                raise InputError(_not_encrypted(where, f".{item}.{key}"))
            found[item][key] = text
    return found


def _ciphertext(value: object) -> object:
    return value["secure"] if isinstance(value, Mapping) and set(value) == {"secure"} else None


def _not_encrypted(where: str, below: str) -> str:
    path = f"{VALUES}{below}" if below.count(".") == 2 else f"{VALUES}.<item>.<key>"
    return (
        f"{where}: {VALUES}{below} is not encrypted text by item and key; take it out and set each value with "
        f"`pulumi config set --secret --path '{PROJECT}:{path}'`"
    )


def _plain(value: str) -> object:
    """A configuration value as the stack file has it: Pulumi hands structured ones over as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value
