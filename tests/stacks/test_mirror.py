"""With a mirror nothing of a stack points outside of it, whatever the stack has."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

import settings
from components.image_lock import lock
from policy_pack.rule import Level
from report import contents
from report.recording import Registration
from sandbox.charts import rendering, workloads
from tests.conftest import ROOT
from tests.policy_support import found, policies
from tests.recorder import Recording
from tests.stacks.program import STACKS, build

REGISTRY, FILES = "registry.internal:5000/llm", "https://files.internal"
MIRROR = {"registry": REGISTRY, "files": FILES, "addresses": ["10.20.0.40/32"]}
_RELEASE = "kubernetes:helm.sh/v3:Release"
_URL = re.compile(r"(?:https?|oci)://[^\s\"'`\\)]+")
_IN_THE_CLUSTER = re.compile(
    r"http://(\[?\{address\}\]?|[a-z-]+|[a-z0-9-]+\.[a-z-]+\.svc)(:(\d+|\{port\}))?(/.*)?|https://kubernetes\.default\.svc.*"
)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Recording]:
    """What each stack's program registers when its file names a mirror."""

    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:mirror"] = MIRROR

    with pytest.MonkeyPatch.context() as patch:
        return {stack: build(stack, ROOT, tmp_path_factory.mktemp(stack), patch, edit=edit) for stack in STACKS}


@pytest.mark.parametrize("stack", STACKS)
def test_every_image_comes_from_the_mirror(stack: str, mirrored: Mapping[str, Recording]) -> None:
    resources = [each for each in mirrored[stack].resources if each.on_kubernetes]
    images = {str(image) for each in resources for image in contents.named(each.inputs)}
    images |= {str(each.inputs["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"]["image"])
               for each in resources if each.type.endswith(":EnvoyProxy")}  # fmt: skip
    assert images
    assert [image for image in images if not image.startswith(f"{REGISTRY}/")] == []


@pytest.mark.parametrize("stack", STACKS)
def test_every_chart_comes_from_the_mirror_and_starts_what_is_there(stack: str, mirrored: Mapping[str, Recording]) -> None:
    for release in mirrored[stack].of(_RELEASE):
        name = release.inputs["chart"].rpartition("/")[2]
        assert release.inputs["chart"] == f"oci://{REGISTRY}/charts/{name}"
        assert not release.inputs.get("repositoryOpts")
        started = [*_started(name, release.inputs)]
        assert [image for image in started if not image.startswith(f"{REGISTRY}/") and image != "auto"] == []


def test_what_the_lock_says_of_charts_and_what_they_start_is_the_same() -> None:
    """Each value of the lock takes the image it stands for to the mirror; one without is injected by istiod."""
    without = {(chart.chart, image.image) for chart in lock().charts for image in chart.images if not image.values}
    assert without == {("gateway", "registry.istio.io/release/proxyv2:1.30.3")}
    for chart in lock().charts:
        for image in chart.images:
            assert all(image.image.startswith(upstream) for upstream in image.values.values()), image


def _started(name: str, inputs: Mapping[str, Any]) -> Iterator[str]:
    """The images of a release: as the lock has them, and as what is known of the chart's templates makes of its values."""
    (chart,) = contents.charts([Registration(_RELEASE, name, inputs)], lock().charts)
    yield from (image for image in chart.images if not image.startswith("registry.istio.io/release/proxyv2"))
    known = workloads.known(name).get(inputs["version"].removeprefix("v"))
    if known:
        objects = rendering.objects(name, known, inputs["name"], "somewhere", inputs.get("values") or {})
        yield from (str(image) for each in objects for image in contents.named(each))


@pytest.mark.parametrize("stack", STACKS)
def test_every_address_is_of_the_cluster_or_of_the_mirror(stack: str, mirrored: Mapping[str, Recording]) -> None:
    """What objects say to somebody: arguments, environments, data. Programs speak of other places in their sentences."""
    outside = {
        (each.type, path, url)
        for each in mirrored[stack].resources
        if each.on_kubernetes
        for path, text in _texts(each.inputs)
        if not path.endswith(".py")
        for url in _URL.findall(text)
        if not url.startswith((FILES, f"oci://{REGISTRY}/")) and not _IN_THE_CLUSTER.fullmatch(url)
    }
    assert outside == set()


@pytest.mark.parametrize("stack", STACKS)
def test_downloads_reach_the_mirror_and_nothing_else(stack: str, mirrored: Mapping[str, Recording]) -> None:
    closed = [
        each.inputs for each in mirrored[stack].of("kubernetes:networking.k8s.io/v1:NetworkPolicy")
        if each.inputs["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name") == "model-download"
    ]  # fmt: skip
    assert closed
    for each in closed:
        blocks = [to["ipBlock"]["cidr"] for rule in each["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
        own = "files come from the bucket, or go there" in str(each["metadata"])
        assert "10.20.0.40/32" in blocks
        assert own or "0.0.0.0/0" not in blocks
        assert "Hugging Face" not in str(each["metadata"])


def test_hosts_take_k3s_and_its_packages_from_the_mirror(mirrored: Mapping[str, Recording]) -> None:
    scripts = [
        str(each.inputs["stdin"]) for each in mirrored["onprem"].resources if each.on_hosts and "take()" in str(each.inputs)
    ]
    assert scripts
    assert all(f"MIRROR={FILES}/k3s" in text.replace("'", "") for text in scripts)


@pytest.mark.parametrize("stack", STACKS)
def test_no_mandatory_rule_is_broken(stack: str, mirrored: Mapping[str, Recording]) -> None:
    config = yaml.safe_load((ROOT / settings.stack_file(stack)).read_text())["config"]
    said = policies(config)
    broken = [rule.id for rule, _ in found(mirrored[stack], config) if said.level(rule) is Level.MANDATORY]
    assert broken == []


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif isinstance(value, str):
        yield path, value
