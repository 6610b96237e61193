"""Record the previews in this directory anew: `python -m tests.preview_fixtures`, in the project's directory, in some minutes.

The real engine previews five changes, and one that a rule refuses, of the stack `staging` on the rehearsal platform, each on its
own. Kept is what a report reads: without what does not change, outputs of resources and debugging.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sandbox.engine import Engine
from sandbox.event_log import event_log
from sandbox.project import Project
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

HERE = Path(__file__).parent
MODELS, VALUES = "llm-platform:models", "llm-platform:secretValues"
Config = dict[str, Any]
_KEPT = (
    *("kind", "metadata", "data", "stringData", "strategy", "replicas", "4dabf18193072939515e22adb298388d", "ciphertext"),
    *("forceDestroy", "skipDestroy", "deletionWindowInDays", "persistentVolumeReclaimPolicy", "volumeName"),
)
"""Inputs that stay in a recording although they do not change; the hexadecimal one marks a secret."""


def _start(config: Config) -> None:
    """`staging` with values encrypted in the stack file, so that they can be changed there, and room to grow."""
    config["llm-platform:secrets"] = {
        "store": {"kind": "config"},
        "items": {"clients": {"keys": {"key": {}}}, "alerts": {"keys": {"slack-url": {}}}},
    }
    config[VALUES] = {"clients": {"key": {"secure": "first"}}, "alerts": {"slack-url": {"secure": "first"}}}
    config["llm-platform:cluster"]["nodePools"]["l40s"]["maxNodes"] = 2
    config["llm-platform:budget"] = {"usdPerMonth": 20000}
    config["llm-platform:aws"]["protect"] = False


def _scale(config: Config) -> None:
    config[MODELS]["qwen3-32b"]["replicas"] = 2


def _model_upgrade(config: Config) -> None:
    """To eight bits, on half the accelerators; the revision is that of the stack `models`."""
    source, revision = "Qwen/Qwen3-32B-FP8", "aa55da1ecc13d006e8b8e4f54579b1ea8c3db2df"
    config[MODELS]["qwen3-32b"] |= {"source": source, "revision": revision, "parallelism": {"tensor": 2}}


def _pool_replacement(config: Config) -> None:
    config["llm-platform:cluster"]["nodePools"]["l40s"]["instanceTypes"] = ["g6e.24xlarge"]


def _secret_rotation(config: Config) -> None:
    config[VALUES]["clients"]["key"]["secure"] = "second"


def _refused(config: Config) -> None:
    del config["llm-platform:budget"]


CHANGES: dict[str, Callable[[Config], None]] = {
    "scale": _scale,
    "model-upgrade": _model_upgrade,
    "pool-replacement": _pool_replacement,
    "secret-rotation": _secret_rotation,
    "refused": _refused,
}


def main() -> None:
    with TemporaryDirectory() as directory:
        project = RehearsedProject.make(ROOT, Path(directory), "staging")
        try:
            project.edit(_start)
            project.succeed("up")
            started = project.stack_file.read_text()
            for name, change in CHANGES.items():
                project.edit(change)
                log = Path(directory) / name
                project.run("preview", "--event-log", str(log))
                _keep(log, name)
                project.stack_file.write_text(started)
            log = Path(directory) / "destroy"
            _preview_destroying(project, log)
            _keep(log, "destroy")
        finally:
            project.run("reset")


def _preview_destroying(project: RehearsedProject, file: Path) -> None:
    stack = Project.find(project.root).stack(project.stack)
    with contextlib.chdir(project.root), Engine.open(stack) as engine, event_log(file) as logged:
        engine._automation.destroy(preview_only=True, on_event=logged)


def _keep(log: Path, name: str) -> None:
    events = [event for line in log.read_text().splitlines() if (event := _trimmed(json.loads(line)))]
    file = HERE / f"{name}.jsonl"
    file.write_text("".join(json.dumps(event, sort_keys=True) + "\n" for event in events))
    print(f"{file.name}: {len(events)} events, {file.stat().st_size // 1024} KiB", file=sys.stderr)  # noqa: T201


def _trimmed(event: dict[str, Any]) -> dict[str, Any] | None:
    match event:
        case {"diagnosticEvent": {"severity": "error"}} | {"policyEvent": _}:
            return event
        case {"summaryEvent": summary}:
            packs = {key.partition("|")[0]: version for key, version in summary["policyPacks"].items()}  # without paths
            return {"summaryEvent": {**summary, "policyPacks": packs}}
        case {"resOutputsEvent": {"metadata": {"type": "pulumi:pulumi:Stack"} as step}}:
            return {"resOutputsEvent": {"metadata": {**step, "old": _outputs(step, "old"), "new": _outputs(step, "new")}}}
        case {"resourcePreEvent": {"metadata": {"op": op, "type": kind} as step}} if (
            op != "same" or kind == "pulumi:pulumi:Stack"
        ):
            return {"resourcePreEvent": {"metadata": _step(step)}}
    return None


def _step(step: dict[str, Any]) -> dict[str, Any]:
    old, new = step.get("old") or {}, step.get("new") or {}
    before, after = old.get("inputs") or {}, new.get("inputs") or {}
    kept = {"old": _unlike(before, after) if new else _short(before), "new": _unlike(after, before)}
    told = {key: value for key, value in step.items() if key not in ("provider", "logical")}
    return {**told, **{side: _state(state, kept[side]) if state else None for side, state in (("old", old), ("new", new))}}


def _outputs(step: dict[str, Any], side: str) -> dict[str, Any] | None:
    """A side of a stack with those of its outputs that a report reads."""
    state = step.get(side)
    told = (state or {}).get("outputs") or {}
    return state and {**state, "inputs": {}, "outputs": {key: told[key] for key in ("figures", "plans") if key in told}}


def _state(state: dict[str, Any], inputs: Any) -> dict[str, Any]:
    """Without what only providers read."""
    return {key: state[key] for key in state if key not in ("outputs", "provider", "initErrors")} | {"inputs": inputs}


def _unlike(value: Any, other: Any) -> Any:
    """`value` without what is the same in `other`, but for what says whose it is and how it is rolled out."""
    match value, other:
        case {}, {}:
            keys = [key for key in value if key in _KEPT or key not in other or value[key] != other[key]]
            return {
                key: _unlike(value[key], other[key]) if value[key] != other.get(key, value[key]) else value[key] for key in keys
            }
        case [*_], [*_] if len(value) == len(other):
            return [_unlike(mine, theirs) for mine, theirs in zip(value, other, strict=True)]
    return value


def _short(inputs: dict[str, Any]) -> dict[str, Any]:
    """Of what goes, what its going depends on."""
    found = {key: value for key, value in inputs.items() if key in _KEPT and (key != "data" or inputs.get("kind") == "Secret")}
    spec = {key: value for key, value in (inputs.get("spec") or {}).items() if key in _KEPT}
    name = {key: value for key, value in (inputs.get("metadata") or {}).items() if key == "name"}
    return found | {key: value for key, value in (("spec", spec), ("metadata", name)) if value}


if __name__ == "__main__":
    main()
