"""What of the documentation is written by programs is what they write today, and what it tells to run can be run."""

import re
from functools import cache
from pathlib import Path

import pytest

import settings
from components.base import PlatformComponent
from tests.commands import problem, shown
from tests.conftest import ROOT
from tests.contracts.test_components import COMPONENTS
from tests.pages.components import page_of, with_reference
from tests.pages.stack_file import stack_file_page

_FOLDERS = ("*.md", "[a-z]*/README.md", "docs/**/*.md", "sandbox/**/*.md")
PAGES = sorted({str(page.relative_to(ROOT)) for pattern in _FOLDERS for page in ROOT.glob(pattern)})
AGAIN = "`python -m tests.pages` writes it anew"


def test_the_reference_of_stack_files_is_that_of_the_schema(root: Path) -> None:
    assert (root / "docs/stack-file.md").read_text() == stack_file_page(), AGAIN


def test_every_setting_says_what_it_is() -> None:
    definitions = settings.json_schema()["$defs"]
    found = {
        f"{name}.{key}": schema.get("description")
        or definitions.get(schema.get("$ref", "").rpartition("/")[2], {}).get("description")
        for name, definition in definitions.items()
        for key, schema in definition.get("properties", {}).items()
        if "const" not in schema and not (key == "kind" and "enum" in schema)  # which one is chosen, not what for
    }
    assert [key for key, told in found.items() if not told] == []


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: str(component.__name__))
def test_the_reference_of_a_component_is_that_of_its_code(component: type[PlatformComponent], root: Path) -> None:
    page = (root / "docs/components" / page_of(component)).read_text()
    reference = with_reference(page, component)
    assert page == reference, AGAIN
    untold = [line for line in reference[len(page.partition("<!--")[0]) :].splitlines() if line.endswith("|  |")]
    assert untold == [], "docstrings are missing"


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_run(page: str, root: Path) -> None:
    commands = set(shown((root / page).read_text()))
    assert [(command, problem(command, root)) for command in sorted(commands) if problem(command, root)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_parts_of_them(page: str, root: Path) -> None:
    file = root / page
    text = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text)
    broken = [(to, part) for to, part in links if not _leads((file.parent / to) if to else file, part)]
    assert broken == []


def _leads(target: Path, part: str) -> bool:
    return target.exists() and (not part or target.suffix != ".md" or part in _parts(target))


@cache
def _parts(page: Path) -> set[str]:
    """What the headings of a page are called in addresses (github.com, "Section links")."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = [re.sub(r"\]\([^)]*\)", "", heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index(root: Path) -> None:
    index = (root / "docs/README.md").read_text()
    folders = {"adr", "components", "runbooks", "operations", "upgrading"}
    pages = [page.relative_to(root / "docs") for page in (root / "docs").rglob("*.md")]
    wanted = {str(page) if page.parts[0] not in folders else f"{page.parts[0]}/" for page in pages} - {"README.md"}
    assert sorted(page for page in wanted if f"({page}" not in index) == []


def test_the_program_of_the_readme_is_the_end_of_an_example(root: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert (root / "examples/python/__main__.py").read_text().endswith(program)
