"""The bill of materials: whole, valid, the same for the same stack."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import settings
from components.image_lock import lock
from components.inputs import InputError
from report import contents
from report.__main__ import main
from report.recording import Registration, previewed, recorded
from report.requirements import pins
from report.sbom import bill, moment
from settings.sections import Settings
from tests.stacks.program import STACKS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RELEASE = "kubernetes:helm.sh/v3:Release"


def _settings(stack: str, root: Path) -> Settings:
    return settings.from_file(root / settings.stack_file(stack), stack)


def _bill(stack: str, root: Path, resources: Sequence[Registration], config: Settings | None = None) -> str:
    return bill(stack, config or _settings(stack, root), resources, lock(), root=root, timestamp=NOON)


def _components(text: str, kind: str) -> dict[str, dict[str, Any]]:
    return {each["bom-ref"]: each for each in json.loads(text)["components"] if each["type"] == kind}


@pytest.fixture(scope="module")
def resources() -> Mapping[str, list[Registration]]:
    return {stack: recorded(stack) for stack in STACKS}


@pytest.mark.parametrize("stack", STACKS)
def test_a_bill_is_valid_and_speaks_of_every_part(stack: str, root: Path, resources: Mapping[str, list[Registration]]) -> None:
    text = _bill(stack, root, resources[stack])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    refs = [each["bom-ref"] for each in found["components"]]
    assert len(refs) == len(set(refs))
    # All hang together below the stack.
    uses = {each["ref"]: each.get("dependsOn", []) for each in found["dependencies"]}
    reached, todo = set(), [found["metadata"]["component"]["bom-ref"]]
    while todo:
        reached.add(ref := todo.pop())
        todo += [each for each in uses[ref] if each not in reached]
    assert reached == {f"stack:{stack}", *refs}


@pytest.mark.parametrize("stack", STACKS)
def test_images_are_those_that_the_program_registers(stack: str, root: Path, resources: Mapping[str, list[Registration]]) -> None:
    listed = {
        f"{each['name']}:{each['version']}" for each in _components(_bill(stack, root, resources[stack]), "container").values()
    }
    own = {image.partition("@")[0] for image in contents.images(resources[stack])}
    brought = {image.partition("@")[0] for chart in contents.charts(resources[stack], lock().charts) for image in chart.images}
    assert listed == own | brought


def test_what_prod_is_made_of(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    text = _bill("prod", root, resources["prod"])
    applications = {each["name"]: each.get("version") for each in _components(text, "application").values()}
    assert applications["karpenter"] == "1.14.1"
    assert applications["pulumi-aws"] == f"v{dict(pins((root / 'requirements.in').read_text()).keys())['pulumi-aws']}"
    assert "pulumi-command" not in applications
    systems = {each["name"]: each["version"] for each in _components(text, "operating-system").values()}
    assert systems["bottlerocket_x86_64_nvidia machine image"] == "1.66.0"
    assert [each["version"] for each in _components(text, "platform").values()] == ["1.36"]
    model = _components(text, "machine-learning-model")[
        "pkg:huggingface/openai/gpt-oss-120b@b5c939de8f754692c1647ca79fbf85e8c1e70f8a"
    ]
    assert model["pedigree"]["commits"][0]["uid"] == "b5c939de8f754692c1647ca79fbf85e8c1e70f8a"
    assert {each["type"] for each in model["externalReferences"]} == {"distribution", "model-card"}
    pause = next(each for each in _components(text, "container").values() if each["name"] == "registry.k8s.io/pause")
    assert pause["hashes"] == [{"alg": "SHA-256", "content": lock().by_image["registry.k8s.io/pause:3.10.2"].digest[7:]}]  # type: ignore[index]
    assert {each["name"] for each in pause["properties"]} == {"llm-platform:digest-source"}


def test_a_bill_has_the_hashes_of_all_packages(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    libraries = _components(_bill("local", root, resources["local"]), "library").values()
    listed = {
        (each["name"], each["version"]): {each["content"] for each in each["externalReferences"][0]["hashes"]}
        for each in libraries
    }
    assert listed == {key: set(hashes) for key, hashes in pins((root / "requirements.txt").read_text()).items()}


def test_k3s_and_adapters(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    rack = _components(_bill("onprem", root, resources["onprem"]), "application").values()
    assert {each["version"] for each in rack if each["name"] == "k3s"} == {"v1.36.3+k3s1"}
    text = _bill("models", root, resources["models"])
    adapter = "pkg:huggingface/radm/Llama-3-70B-Instruct-AH-lora@4f0bf31034ac3f953cac25a50d1996979c10f3f1"
    base = "pkg:huggingface/meta-llama/Meta-Llama-3-70B-Instruct@7129260dd854a80eb10ace5f61c20324b472b31c"
    uses = {each["ref"]: each.get("dependsOn", []) for each in json.loads(text)["dependencies"]}
    assert uses[adapter] == [base]


def test_the_same_stack_has_the_same_bill(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    again = _bill("prod", root, recorded("prod"))
    assert again == _bill("prod", root, resources["prod"])
    later = bill(
        "prod", _settings("prod", root), resources["prod"], lock(), root=root, timestamp=datetime(2027, 1, 1, tzinfo=UTC)
    )
    first, second = json.loads(again), json.loads(later)
    assert first["metadata"].pop("timestamp") != second["metadata"].pop("timestamp")
    assert first == second


def test_another_revision_is_another_bill(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    file = settings.stack_file("prod")
    config = settings.read_stack_file(root / file, file)
    config["llm-platform:models"]["qwen3-32b"] |= {"revision": "0" * 40, "checksum": "1" * 64}
    changed = _bill("prod", root, resources["prod"], settings.from_config(config, file))
    assert json.loads(changed)["serialNumber"] != json.loads(_bill("prod", root, resources["prod"]))["serialNumber"]
    model = _components(changed, "machine-learning-model")[f"pkg:huggingface/Qwen/Qwen3-32B@{'0' * 40}"]
    assert model["properties"] == [{"name": "llm-platform:files-sha256", "value": "1" * 64}]


def test_secrets_of_a_stack_are_not_needed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stack file has encrypted stays so: nobody has its passphrase, and it is in no bill."""
    for name in ("__main__.py", "pyproject.toml", "requirements.txt", "sandbox/toolchain/tools.yaml", "stacks/Pulumi.local.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((root / name).read_text())
    file = tmp_path / "stacks/Pulumi.local.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["llm-platform:secrets"] = {"items": {"hugging-face": {"keys": {"token": {}}}}}
    content["config"]["llm-platform:secretValues"] = {"hugging-face": {"token": {"secure": "v1:AAAA:BBBB"}}}
    (model,) = content["config"]["llm-platform:models"].values()
    model["tokenSecret"] = {"name": "hugging-face", "key": "token"}
    file.write_text(yaml.safe_dump(content))
    monkeypatch.setattr("report.recording.ROOT", tmp_path)
    found = recorded("local")
    assert any(each.type.endswith(":Secret") for each in found)
    text = _bill("local", tmp_path, found)
    assert "BBBB" not in text
    assert _components(text, "container") == _components(_bill("local", root, recorded("local")), "container")


# From a preview


def _preview(resources: Sequence[Registration], op: Callable[[int], str] = lambda _: "create", hidden: int = 0) -> str:
    """As `pulumi preview --json` prints it (pulumi/pulumi pkg/backend/display/json.go)."""
    steps = [
        {
            "op": op(number),
            "urn": f"urn:pulumi:prod::llm-platform::{each.type}::{each.name}",
            "newState": {
                "urn": f"urn:pulumi:prod::llm-platform::{each.type}::{each.name}",
                "type": each.type,
                "inputs": {key: value for key, value in each.inputs.items() if _is_plain(value)},
            },
        }
        for number, each in enumerate(resources)
    ]
    same = sum(step["op"] == "same" for step in steps)
    return json.dumps({"steps": steps, "changeSummary": {"create": len(steps) - same, "same": same + hidden}})


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("stack", ["local", "models", "onprem"])
def test_a_preview_has_the_same_bill(stack: str, root: Path, resources: Mapping[str, list[Registration]]) -> None:
    preview = _preview(resources[stack], op=lambda number: "same" if number % 2 else "update")
    assert _bill(stack, root, previewed(preview, "here")) == _bill(stack, root, resources[stack])


def test_what_a_preview_deletes_is_in_no_bill() -> None:
    text = json.dumps(
        {"steps": [{"op": "delete", "urn": "urn:a", "oldState": {"type": "a", "urn": "urn:a"}}], "changeSummary": {}}
    )
    assert previewed(text, "here") == []


def test_a_preview_that_leaves_things_out_is_refused(resources: Mapping[str, list[Registration]]) -> None:
    with pytest.raises(InputError, match=r"here: the preview leaves out 7 resources .* make it with --show-sames"):
        previewed(_preview(resources["local"], hidden=7), "here")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"steps": [1]}', '{"steps": [{"newState": {}}]}'])
def test_what_is_no_preview_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="here: this is not a preview; give what `pulumi preview --json --show-sames` prints"):
        previewed(text, "here")


# Charts


def test_a_chart_starts_what_its_values_say() -> None:
    def started(values: Mapping[str, Any]) -> set[str]:
        release = Registration(RELEASE, "gpus", {"chart": "gpu-operator", "version": "v26.7.0", "values": values})
        (chart,) = contents.charts([release], lock().charts)
        return {image.rpartition("/")[2].partition(":")[0] for image in chart.images}

    always = {"gpu-operator", "k8s-device-plugin", "node-feature-discovery"}
    off = {"driver": {"enabled": False}, "toolkit": {"enabled": False}, "migManager": {"enabled": False}}
    assert started(off) == always
    assert started({**off, "driver": {"enabled": True}}) == {*always, "driver", "k8s-driver-manager"}
    assert started({**off, "toolkit": {"enabled": True}}) == {*always, "container-toolkit"}


def test_an_image_that_replaces_a_charts_is_in_its_place() -> None:
    values = {"image": {"repository": "mirror.example.com/k8s-device-plugin", "tag": "v0.20.1"}}
    release = Registration(RELEASE, "gpus", {"chart": "nvidia-device-plugin", "version": "0.20.0", "values": values})
    (chart,) = contents.charts([release], lock().charts)
    assert "mirror.example.com/k8s-device-plugin:v0.20.1" in chart.images
    assert not any(image.startswith("nvcr.io/nvidia/k8s-device-plugin") for image in chart.images)


def test_a_chart_that_nobody_knows_is_no_part_of_a_bill() -> None:
    release = Registration(RELEASE, "other", {"chart": "oci://example.com/charts/other", "version": "1.0.0"})
    with pytest.raises(ValueError, match=r"charts: other 1.0.0 is missing; add it with the images it starts"):
        contents.charts([release], lock().charts)


# The command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21T21:00:00+09:00", NOON),
        (str(int(NOON.timestamp())), NOON),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert moment(text) == expected


def _report(*arguments: str, root: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "report", *arguments]
    return subprocess.run(command, cwd=root, input=stdin, capture_output=True, text=True, check=False)


def test_the_command_prints_a_bill_and_nothing_else(root: Path, resources: Mapping[str, list[Registration]]) -> None:
    done = _report("sbom", "local", "--timestamp", "2026-11-21T12:00:00Z", root=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout == _bill("local", root, resources["local"])
    piped = _report(
        "sbom", "local", "--preview", "-", "--timestamp", "2026-11-21T12:00:00Z", root=root, stdin=_preview(resources["local"])
    )
    assert piped.stdout == done.stdout, piped.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "stacks/Pulumi.nowhere.yaml: cannot be read"),
        (["local", "--preview", "/nowhere"], "--preview /nowhere: cannot be read"),
        (["local", "--preview", "-"], "standard input: this is not a preview"),
        (["local", "--timestamp", "yesterday"], "--timestamp: 'yesterday' is not a time; use e.g. 2026-11-21T12:00:00Z"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_sentence(
    arguments: Sequence[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", "sbom", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO("no preview"))
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith(f"error: {sentence}")
    assert told.err.count("\n") == 1
