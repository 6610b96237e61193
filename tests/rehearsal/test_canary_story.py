"""A second version of a model takes over step by step, is rolled back, takes over again, and the first one goes.

The tests of a project follow each other. At no moment of any `up` is a share of the route's requests without a ready server.
"""

import re
from collections.abc import Iterator
from copy import deepcopy

import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject
from tests.rehearsal.route_story import ROUTE, Config, begin, servers, shares, turn

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

V1, V2 = "qwen-v1", "qwen-v2"
BOTH = {"versions": {V1: {}, V2: {}}, "rollout": {"to": V2, "steps": [10, 50, 100], "step": 0}}


def _base(config: Config) -> None:
    """One version, on nodes for three."""
    config["llm-platform:cluster"]["nodePools"]["l4"]["maxNodes"] = 3
    config["llm-platform:budget"] = {"usdPerMonth": 3000}
    (model,) = config["llm-platform:models"].values()
    model["cache"] = {"kind": "nfs", "server": "nfs.example.internal", "export": "/exports/models"}
    config["llm-platform:models"] = {V1: model}
    config["llm-platform:traffic"] = {
        "kind": "gatewayApi",
        "domain": "models.example.com",
        "tls": {"privateCa": True},
        "routes": {ROUTE: {"versions": {V1: {}}}},
    }
    config["sandbox:nodes"][1]["count"] = 3
    # What watches grows with the pool, and the gateway runs beside it.
    config["sandbox:nodes"][0] |= {"cpu": "16", "memory": "64Gi"}


def _add(config: Config) -> None:
    """The second version, which nobody asks yet."""
    models = config["llm-platform:models"]
    models[V2] = deepcopy(models[V1]) | {"maxNumSeqs": 16}
    config["llm-platform:traffic"]["routes"][ROUTE] = deepcopy(BOTH)


def _step(config: Config, step: int) -> None:
    config["llm-platform:traffic"]["routes"][ROUTE]["rollout"]["step"] = step


def _finish(config: Config) -> None:
    """The second version alone."""
    del config["llm-platform:models"][V1]
    config["llm-platform:traffic"]["routes"][ROUTE] = {"versions": {V2: {}}}


@pytest.fixture(scope="module", name="project")
def project_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("canary"))
    project.edit(_base)
    yield project
    project.run("reset")


def test_the_route_comes_when_its_server_is_ready(project: RehearsedProject) -> None:
    assert begin(project) == []
    assert list(servers(project).values()) == [V1]
    assert {*shares(project)[0]} == {V1}


def test_a_version_without_accelerators_is_refused_before_anything_is_made(project: RehearsedProject) -> None:
    good, before = project.stack_file.read_text(), servers(project)

    def too_many(config: Config) -> None:
        _add(config)
        config["llm-platform:models"][V2]["replicas"] = 3

    project.edit(too_many)
    for command in ("preview", "up"):
        code, output = project.run(command)
        assert code == 1
        assert output.endswith(
            "error: stacks/Pulumi.local.yaml: models: pool l4 is 1 accelerator short of what they ask for together; "
            "use cluster.nodePools.l4.maxNodes: 4 or fewer replicas\n"
        )
    assert servers(project) == before
    project.stack_file.write_text(good)


def test_a_version_that_comes_takes_no_requests(project: RehearsedProject) -> None:
    chapter = turn(project, _add)
    assert chapter.gaps == []
    assert chapter.before.items() < chapter.after.items()
    assert sorted(chapter.after.values()) == [V1, V2]
    assert {*shares(project)[0]} == {V1}


def test_a_second_up_changes_nothing(project: RehearsedProject) -> None:
    output = project.succeed("up")
    assert re.search(r"Resources:\n +\d+ unchanged\n", output), output


def test_steps_forth_and_back_touch_the_route_alone(project: RehearsedProject) -> None:
    tenth, half, all_of_it = {V1: 90, V2: 10}, {V1: 50, V2: 50}, {V2: 100}
    for step, expected in ((1, tenth), (2, half), (3, all_of_it), (1, tenth), (3, all_of_it)):
        chapter = turn(project, lambda config, step=step: _step(config, step))  # type: ignore[misc]
        assert chapter.moved_weights_alone(), (step, chapter)
        assert shares(project) == [expected]


def test_the_old_version_goes_when_nobody_asks_it_any_more(project: RehearsedProject) -> None:
    chapter = turn(project, _finish)
    assert chapter.gaps == []
    assert chapter.after.items() < chapter.before.items()
    assert list(chapter.after.values()) == [V2]
    assert chapter.preview[f"ModelServer {V1}"] == "delete"


def test_steps_touch_the_virtual_service_alone_with_istio(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("istio"))

    def with_istio(config: Config) -> None:
        _base(config)
        _add(config)
        _step(config, 1)
        config["llm-platform:traffic"]["kind"] = "istio"
        del config["llm-platform:monitoring"]

    try:
        project.edit(with_istio)
        assert begin(project) == []
        assert turn(project, lambda config: _step(config, 2)).moved_weights_alone("VirtualService")
    finally:
        project.run("reset")
