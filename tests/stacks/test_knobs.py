"""Each setting of a model changes what it should and nothing else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.conftest import ROOT
from tests.recorder import Recording
from tests.stacks.program import build, whole

MODEL = "qwen3-32b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = {"name": "a-secret", "key": "key"}

KNOBS: dict[str, Any] = {
    "revision": COMMIT,
    "replicas": 2,
    "aliases": ["gpt-4o"],
    "parallelism": {"tensor": 4},
    "parallelism.expert": True,
    "profile": "throughput",
    "maxModelLen": 4096,
    "maxNumSeqs": 32,
    "maxNumBatchedTokens": 4096,
    "gpuMemoryUtilization": 0.9,
    "kvCacheDtype": "fp8",
    "dtype": "bfloat16",
    "prefixCaching": False,
    "chunkedPrefill": True,
    "enforceEager": True,
    "kvOffloadingGib": 32,
    "speculative": {"method": "ngram", "tokens": 4},
    "lora": {"adapters": {"mine": {"source": "acme/adapter", "revision": COMMIT, "rank": 16}}},
    "toolCallParser": "qwen3_xml",
    "reasoningParser": "deepseek_r1",
    "tokenSecret": SECRET,
    "apiKeySecret": SECRET,
    "engine": {"image": "registry.example.com/vllm/vllm-openai:v0.33.0"},
    "drain": {"shutdownTimeout": 120},
    "priorityClassName": "serving",
    "hostUsers": True,
    "extraArguments": ["--enable-prompt-tokens-details"],
    "environment": {"VLLM_LOGGING_LEVEL": "WARNING"},
    "limits": {"waiting": 10, "outputTokens": 512},
    "structuredOutputs": "guidance",
    "clients": [{"namespace": "shop", "pods": {"app": "web"}}],
    "checksum": "0" * 64,
    "verify": False,
    "nodePool": "h100",
}


def _edit(knob: str, value: object) -> Any:
    *sections, last = knob.split(".")

    def edit(config: dict[str, Any]) -> None:
        here = config["llm-platform:models"][MODEL]
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value

    return edit


def everything(recording: Recording) -> Mapping[str, Any]:
    """Everything registered, by the component it belongs to, type and name."""
    found = {}
    for resource in recording.resources:
        owner = resource.urn.split("::")[2].rpartition("$")[0].rpartition(":")[2]
        found[f"{owner} {resource.type.rpartition(':')[2]} {resource.name}"] = whole(resource.inputs)
    return found


def _differences(old: object, new: object, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key, ...), new.get(key, ...), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif old != new:
        yield path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        return everything(build("models", ROOT, tmp_path_factory.mktemp("before"), patch))


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_changes_only_what_it_should(
    knob: str,
    before: Mapping[str, Any],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    after = everything(build("models", root, tmp_path, monkeypatch, edit=_edit(knob, KNOBS[knob])))
    changed = changes(before, after)
    # A pool's pre-pull has the images of all its models, rules and dashboards have what is planned of each; how a neighbour rolls
    # follows from the room that is left.
    shared = ("ImagePrepull DaemonSet ", "MonitoringStack PrometheusRule ", "MonitoringStack ConfigMap monitoring-dashboard-")
    others = [line for line in changed if MODEL not in line and not line.startswith(shared)]
    assert all(".strategy" in line for line in others), "another model's objects changed"
    assert "\n".join(changed) == snapshot(name=knob)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What `everything` of two recordings differs in, in words."""
    return [f"{name}: {path or 'made' if name not in before else path or 'gone'}" for name, path in _changes(before, after)]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            yield name, ""
        else:
            yield from ((name, path) for path in _differences(before[name], after[name]))
