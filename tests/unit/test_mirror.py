"""Names of images and charts in a mirror, what a stack with one may say, and the list of what it needs."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
import yaml

import settings
from components.inputs import InputError
from components.mirroring import Redirection, full_name
from report.contents import images
from report.mirror.command import mirror
from report.recording import Registration
from tests.conftest import ROOT
from tests.recorder import Recording
from tests.stacks.program import build

TO = Redirection("registry.internal:5000/llm", "oci://registry.internal:5000/charts")
MIRROR = {"registry": "registry.internal:5000", "files": "https://files.internal", "addresses": ["10.20.0.40/32"]}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("busybox:1.38", "docker.io/library/busybox:1.38"),
        ("grafana/loki:3.7.6", "docker.io/grafana/loki:3.7.6"),
        ("localhost/own:1", "localhost/own:1"),
        ("registry:5000/own:1", "registry:5000/own:1"),
        ("quay.io/a/b/c:1@sha256:" + "0" * 64, "quay.io/a/b/c:1@sha256:" + "0" * 64),
    ],
)
def test_an_image_keeps_its_whole_name_below_the_mirrors(given: str, name: str) -> None:
    assert full_name(given) == name
    assert TO.image(given) == f"registry.internal:5000/llm/{name}"
    assert TO.image(TO.image(given)) == TO.image(given)


def test_images_are_found_in_whatever_holds_pods() -> None:
    def pods(image: str) -> dict[str, Any]:
        pod = {"initContainers": [{"name": "a", "image": image}], "containers": [{"name": "b", "image": image, "args": [image]}]}
        return {"leaderWorkerTemplate": {"workerTemplate": {"spec": pod}, "size": 2}, "container": {"image": image}}

    changed = TO.pods(pods("quay.io/a:1"))
    assert changed["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["args"] == ["quay.io/a:1"]
    named = images([Registration("kubernetes:x:Y", "a", changed)])
    assert named == ["registry.internal:5000/llm/quay.io/a:1"]
    assert changed["container"] == {"image": named[0]}
    # A schema, or a count, is called so too.
    assert TO.pods({"containers": {"image": "x"}, "container": "x"}) == {"containers": {"image": "x"}, "container": "x"}


def test_images_that_are_known_later_are_changed_then() -> None:
    async def all_of_them() -> list[Any]:
        container = {"image": "quay.io/a:1"}
        later = [
            {"containers": [{"image": pulumi.Output.from_input("quay.io/a:1")}]},
            {"containers": [pulumi.Output.from_input(container)]},
            {"containers": pulumi.Output.from_input([container])},
            pulumi.Output.from_input({"containers": [container]}),
        ]
        return [await pulumi.Output.from_input(TO.pods(each)).future() for each in later]

    assert asyncio.run(all_of_them()) == [{"containers": [{"image": TO.image("quay.io/a:1")}]}] * 4


@pytest.mark.parametrize(
    ("charts", "expected"),
    [
        ("oci://r.internal/charts", {"chart": "oci://r.internal/charts/keda", "repository_opts": None}),
        ("https://r.internal/charts", {"chart": "keda", "repository_opts": {"repo": "https://r.internal/charts"}}),
    ],
)
def test_a_chart_is_asked_for_all_its_images_from_the_mirror(charts: str, expected: Mapping[str, Any]) -> None:
    inputs = {
        "chart": "keda",
        "version": "2.20.2",
        "repository_opts": {"repo": "https://kedacore.github.io/charts"},
        "values": {"image": {"keda": {"tag": "2.20.2", "registry": "registry.example.com"}}, "logging": {}},
    }
    found = Redirection("r.internal", charts).release(inputs)
    assert {key: found[key] for key in expected} == expected
    assert found["values"] == {
        "image": {
            "keda": {"tag": "2.20.2", "registry": "r.internal/registry.example.com"},
            "metricsApiServer": {"registry": "r.internal/ghcr.io"},
        },
        "logging": {},
    }
    assert inputs["values"] == {"image": {"keda": {"tag": "2.20.2", "registry": "registry.example.com"}}, "logging": {}}


def test_a_chart_whose_images_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"charts: other is missing; add it with the images it starts"):
        TO.release({"chart": "oci://example.com/other", "version": "1"})


# Settings


def _config(stack: str, edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / settings.stack_file(stack)).read_text())["config"]
    config["llm-platform:mirror"] = dict(MIRROR)
    edit(config)
    return config


@pytest.mark.parametrize(
    ("stack", "mirror", "sentence"),
    [
        ("local", {"registry": "https://r.internal"}, "mirror.registry: 'https://r.internal' is not a registry, with a path"),
        (
            "local",
            {"files": "http://files.internal"},
            "'http://files.internal' is not an https address without a slash at its end",
        ),
        ("local", {"charts": "r.internal/charts"}, "mirror.charts: 'r.internal/charts' is not a place of charts"),
        ("local", {"files": None}, "mirror.files is missing; models.qwen2-5-7b would come from Hugging Face"),
        ("local", {"addresses": []}, "mirror.addresses is missing; policies close every way .* would not reach files.internal"),
        ("local", {"addresses": ["169.254.169.254/32"]}, "has 169.254.0.0/16 in it, where nodes get their credentials"),
        ("local", {"hub": "https://hub.internal:8443"}, "mirror: hub: it answers on another port than files"),
        ("local", {"authority": "no certificate"}, "mirror.authority: 'no certificate' is not certificates as PEM"),
        (
            "onprem",
            {"files": None, "hub": "https://hub.internal"},
            r"mirror.files is missing; hosts would fetch k3s v1.36.3\+k3s1 from the internet",
        ),
    ],
)
def test_what_a_mirror_cannot_serve_is_told_in_one_sentence(stack: str, mirror: dict[str, Any], sentence: str) -> None:
    given = {key: value for key, value in {**MIRROR, **mirror}.items() if value is not None}
    with pytest.raises(InputError, match=sentence) as caught:
        settings.from_config(_config(stack, lambda config: config.update({"llm-platform:mirror": given})), "here")
    assert "\n" not in str(caught.value)


def test_no_driver_comes_from_a_mirror() -> None:
    with pytest.raises(InputError, match=r"cluster.driver.install: the mirror has no drivers; install NVIDIA's driver"):
        settings.from_config(_config("onprem", lambda c: c["llm-platform:cluster"].update(driver={"install": True})), "here")


def test_a_hub_has_no_vocabularies() -> None:
    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:mirror"] = {key: MIRROR[key] for key in ("registry", "addresses")} | {"hub": "https://hub.internal"}

    config = settings.from_config(_config("models", edit), "here")
    with pytest.raises(
        InputError, match=r"mirror.files is missing; models.gpt-oss-120b: an engine for gpt_oss takes vocabularies"
    ):
        settings.plan(config, "here", ROOT)


PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture(name="recording", scope="module")
def recording_fixture(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The stack `local` with a mirror and a hub."""

    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:mirror"] = {**MIRROR, "hub": "https://hub.internal", "authority": PEM}

    with pytest.MonkeyPatch.context() as patch:
        return build("local", ROOT, tmp_path_factory.mktemp("local"), patch, edit=edit)


def test_a_download_asks_the_hub_and_trusts_its_authority(recording: Recording) -> None:
    job = next(each.inputs for each in recording.of("kubernetes:batch/v1:Job") if each.name.endswith("qwen2-5-7b-job"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["HF_ENDPOINT"] == "https://hub.internal"
    program = next(
        each.inputs["data"] for each in recording.of("kubernetes:core/v1:ConfigMap") if "wishes.json" in each.inputs["data"]
    )
    assert program[environment["SSL_CERT_FILE"].rpartition("/")[2]] == PEM
    assert '"from": null' in program["wishes.json"]


# The list


def test_the_list_has_what_a_stack_with_a_mirror_starts(recording: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    mirror("local")
    found = yaml.safe_load(capsys.readouterr().out)
    assert [*found] == ["stack", "images", "charts", "models", "files", "python"]
    for kind in ("images", "files", "python"):
        names = [each.get("name", each.get("path")) for each in found[kind]]
        assert names == sorted(set(names))
    assert {"name": "nvidia-device-plugin", "version": "0.20.0", "repository": "https://nvidia.github.io/k8s-device-plugin"} in (
        found["charts"]
    )
    assert found["models"] == [{"source": "Qwen/Qwen2.5-7B-Instruct-AWQ", "revision": "b25037543e9394b818fdfca67ab2a00ecc7dd641"}]
    pause = next(each for each in found["images"] if each["name"].startswith("registry.k8s.io/pause:"))
    assert pause["digest"].startswith("sha256:f548e0e8")
    assert all(each["sha256"] for each in found["python"])
    plugins = [each["path"] for each in found["files"]]
    assert any(path.startswith("tools/pulumi-resource-kubernetes-v") for path in plugins)
    started = images([Registration(each.type, each.name, each.inputs) for each in recording.resources])
    listed = {each["name"] for each in found["images"]}
    assert {image.removeprefix("registry.internal:5000/").partition("@")[0] for image in started} <= listed
