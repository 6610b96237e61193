"""This project's program, run without an engine on a committed stack file."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from tests.contracts.examples import KUBECONFIG
from tests.recorder import Recording, record

STACKS = ["local"]


def build(stack: str, root: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, *, preview: bool = False) -> Recording:
    """What the program registers for that stack. Files it needs are made in `directory`."""
    config: dict[str, Any] = yaml.safe_load((root / settings.stack_file(stack)).read_text())["config"]
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.replace("here", config["llm-platform:cluster"]["context"]))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}

    def program() -> None:
        runpy.run_path(str(root / "__main__.py"), run_name="__main__")

    return record(program, stack=stack, preview=preview, config=flat)
