"""The wheel that teams install: it is whole, it is typed, and it asks for what the components need."""

import subprocess
import tomllib
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

import components
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _versioned(folder: str) -> set[str]:
    """Files of a folder that belong to the project, below the name the wheel gives it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return {each.replace("components/", "llm_platform/", 1) for each in listed if (ROOT / each).exists()}


def test_it_has_every_file_of_components_and_planner_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == _versioned("components") | _versioned("planner")
    assert {"llm_platform/py.typed", "planner/py.typed", "llm_platform/monitoring/alerts.yaml"} <= names


def test_it_asks_for_what_the_components_are_tested_with() -> None:
    ranges = {found.name.lower(): found.specifier for found in map(Requirement, PROJECT["dependencies"])}
    pinned = [Requirement(line) for line in (ROOT / "requirements.in").read_text().splitlines() if line and line[0] != "#"]
    assert set(ranges) == {each.name.lower() for each in pinned}
    for each in pinned:
        (pin,) = each.specifier
        allowed = ranges[each.name.lower()]
        assert allowed.contains(pin.version), each.name
        assert {part.operator for part in allowed} == {">=", "<"}, each.name


def test_its_version_is_the_plugins() -> None:
    assert components.__version__ == PROJECT["version"]


EVERY_MODULE = """
import importlib, pkgutil, sys
for root in ("llm_platform", "planner"):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, f"{root}."):
        if not module.name.endswith("__main__") and ".scripts." not in module.name:
            importlib.import_module(module.name)
strangers = sorted(name for name in sys.modules if name.split(".")[0] in ("components", "settings", "sandbox", "tests"))
print(len(sys.modules) > 200, strangers)
"""


def test_every_module_of_it_can_be_imported_without_this_repository(consumer_python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(consumer_python), "-c", EVERY_MODULE], cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert (done.stdout, done.stderr) == ("True []\n", "")


def test_its_planner_answers_and_says_what_needs_a_checkout(consumer_python: Path, tmp_path: Path) -> None:
    def planner(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(consumer_python), "-m", "planner", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"COLUMNS": "200"})

    fits = planner("fit", "--model", "Qwen/Qwen2.5-7B-Instruct-AWQ", "--gpu", "L4", "--max-model-len", "8192")
    assert fits.returncode == 0, fits.stderr
    assert "L4" in fits.stdout
    needs_more = planner("explain", "local")
    assert needs_more.returncode != 0
    assert needs_more.stderr.startswith(
        "error: explain: stack files are read by the project they belong to; run it in a checkout"
    )
