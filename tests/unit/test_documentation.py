"""What the documentation repeats has to stay true."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contracts.test_components import COMPONENTS


def test_the_readme_shows_the_stack_file_as_it_is(root: Path) -> None:
    assert (root / "stacks/Pulumi.local.yaml").read_text().strip() in (root / "README.md").read_text()


@pytest.mark.parametrize("component", [component.__name__ for component in COMPONENTS])
def test_every_component_has_a_page(component: str, root: Path) -> None:
    page = re.sub(r"(?<!^)(?=[A-Z])", "-", component).lower()
    assert (root / f"docs/components/{page}.md").read_text().startswith(f"# {component}\n")
    assert f"({page}.md)" in (root / "docs/components/README.md").read_text()


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
)
def test_links_lead_somewhere(page: str, root: Path) -> None:
    file = root / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_the_tests_that_the_threat_model_names_exist(root: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (root / "docs/security.md").read_text())
    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in (root / "tests" / file).read_text()] == []
