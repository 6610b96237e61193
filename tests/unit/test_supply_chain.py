"""Everything that is fetched is pinned: images, packages, actions; and what cannot be is known by name."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from components import versions
from components.accelerators.profiles import Vendor, profile
from components.image_lock import LOCK, Lock, LockedImage, lock, locked
from components.routing.envoy_proxy import IMAGE as ENVOY_IMAGE
from components.serving.engine_images import check_image, engine_for
from components.serving.image_prepull import PAUSE_IMAGE
from components.serving.tgi.image import REPOSITORY as TGI_REPOSITORY
from components.serving.tgi.image import TGI
from report import contents
from report.images import difference, resolve, updated
from report.recording import recorded
from report.requirements import pins
from tests.image_registry import registry
from tests.stacks.program import STACKS

ENGINES = [
    ("nvidia.com/gpu", False),
    ("nvidia.com/gpu", True),
    ("amd.com/gpu", False),
    ("gpu.intel.com/xe", False),
    ("cpu", False),
]
"""Resources with a release image, and whether it is the one with EFA."""
CHARTS = {
    "aws-efa-k8s-device-plugin": versions.EFA_DEVICE_PLUGIN,
    "aws-load-balancer-controller": versions.AWS_LOAD_BALANCER_CONTROLLER,
    "base": versions.ISTIO,
    "cert-manager": versions.CERT_MANAGER,
    "dcgm-exporter": versions.DCGM_EXPORTER_CHART,
    "external-secrets": versions.EXTERNAL_SECRETS,
    "fluent-bit": versions.FLUENT_BIT_CHART,
    "gateway": versions.ISTIO,
    "gateway-helm": versions.ENVOY_GATEWAY,
    "gpu-operator": versions.GPU_OPERATOR,
    "istiod": versions.ISTIO,
    "karpenter": versions.KARPENTER,
    "karpenter-crd": versions.KARPENTER,
    "keda": versions.KEDA,
    "kube-prometheus-stack": versions.KUBE_PROMETHEUS_STACK,
    "kube-state-metrics": versions.KUBE_STATE_METRICS_CHART,
    "kuberay-operator": versions.KUBERAY,
    "loki": versions.LOKI_CHART,
    "lws": versions.LWS,
    "metrics-server": versions.METRICS_SERVER,
    "nvidia-device-plugin": versions.NVIDIA_DEVICE_PLUGIN,
    "prometheus-node-exporter": versions.NODE_EXPORTER_CHART,
    "sealed-secrets": versions.SEALED_SECRETS,
}
FILLED_IN = {"auto": f"registry.istio.io/release/proxyv2:{versions.ISTIO}"}
"""Images that a webhook fills in: Istio's (istio/istio manifests/charts/gateway, templates/deployment.yaml)."""
SWITCHED_OFF = {f"ghcr.io/kedacore/keda-admission-webhooks:{versions.KEDA}"}
"""Images that charts render by themselves and do not with our values: KEDA's webhooks (`keda_values`)."""


def _tagged(reference: str) -> str:
    return reference.partition("@")[0]


def _images_of_the_code() -> set[str]:
    parts = [part for vendor in Vendor for part in (profile(vendor).plugin, profile(vendor).exporter, profile(vendor).smoke)]
    engines = {engine_for(resource, image=None, version=versions.VLLM, efa=efa).image for resource, efa in ENGINES}
    watching = (versions.PROMETHEUS_IMAGE, versions.ALERTMANAGER_IMAGE, versions.GRAFANA_IMAGE)
    vendors = (part.image for part in parts if part is not None and part.image)
    return {PAUSE_IMAGE, ENVOY_IMAGE, f"{TGI_REPOSITORY}:{TGI}", versions.VLLM_IMAGE, *watching, *engines, *vendors}


# Images


def test_the_lock_has_every_image_and_no_other() -> None:
    started_by_charts = {image.image for chart in lock().charts for image in chart.images}
    assert {_tagged(image) for image in _images_of_the_code()} | started_by_charts == {each.image for each in lock().images}
    names = [each.image for each in lock().images]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_starts_nothing_else(stack: str) -> None:
    """Whatever the program registers is locked, and carries the digest where one is known."""
    resources = recorded(stack)
    images = contents.images(resources)
    assert images
    for image in images:
        assert _tagged(image) in lock().by_image, image
        assert image == locked(_tagged(image))
    contents.charts(resources, lock().charts)
    # The check after a rollout runs in the image of the server it checks, and waits for it.
    unknown = {each.name for each in resources for image in contents.named(each.inputs) if not contents.is_known(image)}
    assert all(name.endswith("-verification") for name in unknown)


def test_nothing_in_the_lock_moves() -> None:
    for each in lock().images:
        check_image(each.image)
        assert ":" in each.image.rpartition("/")[2], f"{each.image} has no tag"


@pytest.mark.parametrize(
    "entry",
    [
        {"image": "docker.io/a/b:1", "digest": f"sha256:{'0' * 64}"},
        {"image": "docker.io/a/b:1"},
        {"image": "docker.io/a/b:1", "digest": "sha256:0", "sources": ["somewhere"]},
        {"image": "docker.io/a/b:1", "digest": f"sha256:{'0' * 64}", "sources": ["somewhere"], "reason": "none"},
        {"image": "docker.io/a/b:1", "sources": ["somewhere"], "reason": "none"},
    ],
    ids=["no source", "no reason", "no digest", "both", "a source of nothing"],
)
def test_an_entry_explains_itself(entry: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"docker\.io/a/b:1|pattern"):
        LockedImage.model_validate(entry)


def test_the_charts_of_the_lock_are_those_that_are_installed() -> None:
    assert {chart.chart: chart.version for chart in lock().charts} == CHARTS


def test_the_images_of_charts_are_what_the_charts_render() -> None:
    """By facts of the official charts; what operators start besides is in no manifest."""
    if "LLM_PLATFORM_CHARTS" not in os.environ:
        pytest.skip("LLM_PLATFORM_CHARTS is not set")
    rendered = yaml.safe_load((Path(os.environ["LLM_PLATFORM_CHARTS"]) / "objects.yaml").read_text())
    for chart in lock().charts:
        found = {
            _tagged(FILLED_IN.get(image, image))
            for name, objects in rendered.items()
            if name.replace("-v", "-") == f"{chart.chart}-{chart.version.removeprefix('v')}"
            for each in objects
            if isinstance(each, dict)
            for described in each.values()
            for image in described.get("images", [])
        } - SWITCHED_OFF
        assert found <= {image.image for image in chart.images}, chart.chart
        assert bool(found) == bool(chart.images), chart.chart


def test_a_known_digest_is_what_containers_name() -> None:
    known = [each for each in lock().images if each.digest]
    assert known
    assert all(locked(each.image) == f"{each.image}@{each.digest}" for each in known)
    assert "@sha256:" in PAUSE_IMAGE
    assert locked("docker.io/vllm/vllm-openai:v0.32.0") == "docker.io/vllm/vllm-openai:v0.32.0"


# What registries say


def test_a_registry_fills_in_digests() -> None:
    with registry() as there:
        new, same = there.push("team/new", "1.0", "new"), there.push("team/same", "1.0", "same")
        there.push("team/moved", "1.0", "another one")
        text = (
            f"images:\n- image: {there.host}/team/new:1.0\n  reason: no public source states it\n"
            f"- image: {there.host}/team/same:1.0\n  digest: {same}\n  sources:\n  - somebody\n"
            f"- image: {there.host}/team/moved:1.0\n  digest: sha256:{'0' * 64}\n  sources:\n  - somebody\n"
            f"- image: {there.host}/team/gone:1.0\n  reason: no public source states it\ncharts: []\n"
        )
        found = resolve(Lock.model_validate(yaml.safe_load(text)).images)
    assert found.digests == {f"{there.host}/team/new:1.0": new}
    assert [sentence.partition(" is ")[0] for sentence in found.moved] == [f"{there.host}/team/moved:1.0"]
    assert [sentence.partition(": ")[0] for sentence in found.faults] == [f"{there.host}/team/gone:1.0"]
    after = updated(text, found.digests, "2026-11-21")
    entry = Lock.model_validate(yaml.safe_load(after)).by_image[f"{there.host}/team/new:1.0"]
    assert entry.digest == new
    assert entry.sources == (f"{there.host}, asked on 2026-11-21",)
    changed = [line for line in difference(text, after).splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == [
        "-  reason: no public source states it",
        f"+  digest: {new}",
        "+  sources:",
        f"+  - {there.host}, asked on 2026-11-21",
    ]


def test_a_registry_that_states_another_digest_than_it_serves_is_not_believed() -> None:
    with registry() as there:
        there.push("team/image", "1.0", "something")
        there.asks_for_tokens, there.claims = False, f"sha256:{'1' * 64}"
        found = resolve([LockedImage(image=f"{there.host}/team/image:1.0", reason="unknown")])
    assert not found.digests
    assert "of a manifest whose digest is" in found.faults[0]


def test_a_registry_that_does_not_answer_changes_nothing() -> None:
    with registry() as there:
        host = there.host
    found = resolve([LockedImage(image=f"{host}/team/image:1.0", reason="unknown")])
    assert not found.digests
    assert found.faults[0].startswith(f"{host}/team/image:1.0: ")
    assert updated(LOCK.read_text(), found.digests, "today") == LOCK.read_text()


# Packages of Python


def test_every_package_is_pinned_with_hashes(root: Path) -> None:
    program, everything = (pins((root / name).read_text()) for name in ("requirements.txt", "requirements-dev.txt"))
    assert all(program.values())
    assert all(everything.values())
    assert set(program) <= set(everything), "make lock"
    assert set(pins((root / "requirements.in").read_text())) <= set(program), "make lock"
    assert set(pins((root / "requirements-dev.in").read_text())) <= set(everything), "make lock"


@pytest.mark.parametrize("name", ["requirements.in", "requirements-dev.in", "requirements.txt", "requirements-dev.txt"])
def test_packages_come_from_whatever_index_a_machine_has(root: Path, name: str) -> None:
    text = (root / name).read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)


def test_inputs_say_exactly_which_version(root: Path) -> None:
    for name in ("requirements.in", "requirements-dev.in"):
        lines = [line for line in (root / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
        assert len(pins("\n".join(lines))) == len(lines), name


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
def test_setup_refuses_a_package_that_is_another_one(root: Path, tmp_path: Path, with_uv: bool) -> None:
    wheel = _wheel(tmp_path)
    project = tmp_path / "project"
    (project / "sandbox").mkdir(parents=True)
    script = project / "sandbox" / "setup.sh"
    script.write_text((root / "sandbox" / "setup.sh").read_text())
    script.chmod(0o755)
    tools = tmp_path / "bin"
    tools.mkdir()
    if with_uv:
        (tools / "uv").symlink_to(Path(sys.executable).parent / "uv")
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHON": sys.executable,
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }

    def set_up(digest: str) -> subprocess.CompletedProcess[str]:
        packages = f"--no-index\n--find-links {tmp_path}\nharmless==1.0 \\\n    --hash=sha256:{digest}\n    # via nobody\n"
        (project / "requirements-dev.txt").write_text(packages)
        return subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=False)

    refused = set_up("0" * 64)
    assert refused.returncode != 0
    assert re.search("hash", refused.stderr, re.IGNORECASE)
    assert not (project / ".venv" / ".ready").exists()

    done = set_up(sha256(wheel.read_bytes()).hexdigest())
    assert done.returncode == 0, done.stderr
    assert list((project / ".venv").rglob("harmless.py"))
    assert set_up(sha256(wheel.read_bytes()).hexdigest()).stdout == ""


def _wheel(directory: Path) -> Path:
    path = directory / "harmless-1.0-py3-none-any.whl"
    about = "harmless-1.0.dist-info"
    files = {
        "harmless.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD")))
    return path


# Actions of workflows


def unpinned_actions(text: str) -> list[str]:
    """Lines of a workflow whose action could become another one: not pinned to a commit with its version beside it.

    Actions of this repository itself, and images by digest, cannot.
    """
    pinned = re.compile(r"(\./\S+|docker://\S+@sha256:[0-9a-f]{64}|[\w.-]+/[\w./-]+@[0-9a-f]{40} +# v?\d+(\.\d+)*\S*)")
    found = []
    for line in text.splitlines():
        use = re.match(r"\s*(?:- )?['\"]?uses['\"]?\s*:\s*(.*)", line)
        if use and not pinned.fullmatch(use[1].strip()):
            found.append(line.strip())
    return found


_COMMIT = "11bd71901bbe5b1630ceea73d27597364c9af683"


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        (f"- uses: actions/checkout@{_COMMIT} # v4.2.2", True),
        (f"  uses: github/codeql-action/upload-sarif@{_COMMIT} # v3", True),
        ("- uses: ./.github/actions/setup", True),
        (f"- uses: docker://ghcr.io/a/b@sha256:{'0' * 64}", True),
        ("- uses: actions/checkout@v4", False),
        ("- uses: actions/checkout@main", False),
        ("- uses: actions/checkout@v4.2.2 # v4.2.2", False),
        (f"- uses: actions/checkout@{_COMMIT}", False),
        (f"- uses: actions/checkout@{_COMMIT[:12]} # v4.2.2", False),
        (f'- uses: "actions/checkout@{_COMMIT}"', False),
        ("- 'uses': actions/checkout@v4", False),
        ("- uses: docker://alpine:3", False),
        ("- uses: actions/checkout", False),
    ],
)
def test_which_actions_are_pinned(line: str, fine: bool) -> None:
    assert (unpinned_actions(f"jobs:\n  test:\n    steps:\n    {line}\n") == []) is fine


def test_every_action_of_this_project_is_pinned(root: Path) -> None:
    files = [path for path in (root / ".github").rglob("*") if path.suffix in (".yml", ".yaml")]
    found = {str(path.relative_to(root)): unpinned_actions(path.read_text()) for path in files}
    assert not {name: lines for name, lines in found.items() if lines}


# Updates


def test_renovate_sees_every_version(root: Path) -> None:
    managers = json.loads((root / "renovate.json").read_text())["customManagers"]

    def seen(file: str) -> list[str]:
        patterns = [
            pattern.replace("(?<", "(?P<")
            for manager in managers
            if any(re.search(path.strip("/"), file) for path in manager["managerFilePatterns"])
            for pattern in manager["matchStrings"]
        ]
        text = (root / file).read_text()
        return [match["depName"] for pattern in patterns for match in re.finditer(pattern, text)]

    for file in ("components/versions.py", "sandbox/toolchain/tools.yaml", ".github/actions/program/action.yml"):
        assert len(seen(file)) == (root / file).read_text().count("# renovate:"), file
    assert sorted(seen("components/images.lock.yaml")) == sorted(each.image.rpartition(":")[0] for each in lock().images)
    parts = [part for vendor in Vendor for part in (profile(vendor).plugin, profile(vendor).exporter, profile(vendor).smoke)]
    in_profiles = [_tagged(part.image).rpartition(":")[0] for part in parts if part is not None and part.image]
    assert sorted(seen("components/accelerators/profiles.yaml")) == sorted(in_profiles)
    assert seen("components/serving/image_prepull.py") == ["registry.k8s.io/pause"]
