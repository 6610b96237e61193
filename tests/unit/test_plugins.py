"""Official plugins are preferred, fetched where that works, and emulated else."""

from pathlib import Path

import pytest

from sandbox import plugins

PULUMI = """#!/bin/sh
echo "$@" >> {log}
{then}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any plugin, whose internet answers."""
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(plugins, "unreachable", lambda _urls: {})
    return tmp_path


def _pulumi(directory: Path, then: str) -> Path:
    program = directory / "engine"
    program.write_text(PULUMI.format(log=directory / "log", then=then))
    program.chmod(0o755)
    return program


def test_without_the_official_plugin_the_provider_is_emulated(home: Path) -> None:
    assert plugins.official("kubernetes") is None
    assert "kubernetes" in plugins.emulated()


def test_an_installed_plugin_is_used(home: Path) -> None:
    plugin = home / "pulumi/plugins/resource-kubernetes-v4.34.2/pulumi-resource-kubernetes"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    assert plugins.official("kubernetes") == plugin
    assert "kubernetes" not in plugins.emulated()


def test_a_missing_plugin_is_installed_once_in_the_version_of_its_sdk(home: Path) -> None:
    said: list[str] = []
    engine = _pulumi(home, "exit 0")
    for _ in range(2):
        plugins.install(engine, home / "tried", said.append)
    wanted = [("aws", "7.51.1"), ("command", "1.2.1"), ("kubernetes", "4.34.2")]
    assert (home / "log").read_text().splitlines() == [f"plugin install resource {name} {of}" for name, of in wanted]
    assert said == [f"installing the official {name} plugin {of}" for name, of in wanted]


def test_an_installation_that_fails_says_why_and_is_no_error(home: Path) -> None:
    said: list[str] = []
    plugins.install(_pulumi(home, "echo 'error: 404 not found' >&2; exit 1"), home / "tried", said.append)
    assert said[-1] == ("the official kubernetes plugin could not be installed (error: 404 not found); its emulation is used")


def test_without_internet_nothing_is_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "unreachable", lambda _urls: {"github.com": "no answer"})
    plugins.install(_pulumi(home, "exit 0"), home / "tried", lambda _line: None)
    assert not (home / "log").exists()
