"""A model moves from TGI to vLLM behind its route, step by step; at no moment is the route without an answer.

The tests follow each other on the stack `migration`.
"""

import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject
from tests.rehearsal.route_story import Chapter, Config, begin, servers, shares, turn

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

TGI, VLLM = "qwen-tgi", "qwen-vllm"


@pytest.fixture(scope="module", name="project")
def project_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("migration"), "migration")
    yield project
    project.run("reset")


def _route(config: Config) -> Config:
    route: Config = config["llm-platform:traffic"]["routes"]["chat"]
    return route


def _step(project: RehearsedProject, step: int) -> Chapter:
    return turn(project, lambda config: _route(config)["rollout"].update(step=step))


def test_tgi_alone_has_everything(project: RehearsedProject) -> None:
    committed = project.stack_file.read_text()

    def alone(config: Config) -> None:
        del config["llm-platform:models"][VLLM]
        config["llm-platform:traffic"]["routes"]["chat"] = {"versions": {TGI: {}}}

    project.edit(alone)
    assert begin(project) == []
    assert list(servers(project).values()) == [TGI]
    assert {*shares(project)[0]} == {TGI}
    project.stack_file.write_text(committed)


def test_vllm_comes_beside_it_and_gets_a_tenth(project: RehearsedProject) -> None:
    chapter = turn(project, lambda _config: None)
    assert chapter.gaps == []
    assert chapter.before.items() < chapter.after.items()
    assert sorted(chapter.after.values()) == [TGI, VLLM]
    assert shares(project) == [{TGI: 90, VLLM: 10}]


def test_a_second_up_changes_nothing(project: RehearsedProject) -> None:
    output = project.succeed("up")
    assert re.search(r"Resources:\n +\d+ unchanged\n", output), output


def test_steps_touch_the_route_alone(project: RehearsedProject) -> None:
    for step, expected in ((2, {TGI: 50, VLLM: 50}), (1, {TGI: 90, VLLM: 10}), (3, {VLLM: 100})):
        assert _step(project, step).moved_weights_alone()
        assert shares(project) == [expected]


def test_tgi_goes_when_nobody_asks_it_any_more(project: RehearsedProject) -> None:
    def go(config: Config) -> None:
        del config["llm-platform:models"][TGI]
        config["llm-platform:traffic"]["routes"]["chat"] = {"versions": {VLLM: {}}}

    chapter = turn(project, go)
    assert chapter.gaps == []
    assert list(chapter.after.values()) == [VLLM]
    assert chapter.after.items() < chapter.before.items()
    assert chapter.preview[f"TgiServer {TGI}"] == "delete"
    assert {*shares(project)[0]} == {VLLM}
