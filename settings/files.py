"""Reading stack files; the only reader of `pulumi.Config`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config

from components.inputs import InputError, validate
from settings.sections import Settings

PROJECT = "llm-platform"


def load() -> Settings:
    """The settings of the stack that runs. Raises InputError with one sentence for every fault."""
    config = pulumi.Config(PROJECT)
    prefix = f"{PROJECT}:"
    keys = [key for key in {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()} if key.startswith(prefix)]
    raw = {key.removeprefix(prefix): _plain(config.get(key.removeprefix(prefix)) or "") for key in keys}
    return validate(Settings, raw, stack_file(pulumi.get_stack()))


def from_file(path: Path, where: str) -> Settings:
    """The settings in the stack file at `path`, named `where` in messages, without running anything."""
    return from_config(read_stack_file(path, where), where)


def from_config(config: Mapping[str, Any], where: str) -> Settings:
    """The settings in the `config` mapping of a stack file that was read already."""
    prefix = f"{PROJECT}:"
    return validate(Settings, {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}, where)


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


def _plain(value: str) -> object:
    """A configuration value as the stack file has it: Pulumi hands structured ones over as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value
