"""`python -m tests.pages`: write what of the documentation is written by programs."""

from tests.conftest import ROOT
from tests.contracts.test_components import COMPONENTS
from tests.pages.components import page_of, with_reference
from tests.pages.guides import with_tables
from tests.pages.stack_file import stack_file_page

if __name__ == "__main__":
    (ROOT / "docs/stack-file.md").write_text(stack_file_page(), "utf-8")
    for name in ("choosing.md", "costs.md"):
        page = ROOT / "docs" / name
        page.write_text(with_tables(page.read_text("utf-8")), "utf-8")
    for component in COMPONENTS:
        page = ROOT / "docs/components" / page_of(component)
        page.write_text(with_reference(page.read_text("utf-8"), component), "utf-8")
