"""What the tests of stacks share."""

from collections.abc import Mapping

import pytest

from tests.conftest import ROOT
from tests.recorder import Recording
from tests.stacks.program import STACKS, build


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Recording]:
    """What each stack's program registers."""
    with pytest.MonkeyPatch.context() as patch:
        return {stack: build(stack, ROOT, tmp_path_factory.mktemp(stack), patch) for stack in STACKS}
