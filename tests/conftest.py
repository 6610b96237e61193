"""Shared by every test."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest

# Programs build graphs of many thousand objects: to look through them at Python's pace costs a third of the time of these tests.
gc.set_threshold(50_000, 20, 100)

# How long an example takes says something about the machine, not about the program.
hypothesis.settings.register_profile(
    "project", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("project")

# moto keeps an account while the process lives, with the policies of AWS or without, as it is when the first test uses it.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

ROOT = Path(__file__).parent.parent


@pytest.fixture
def root() -> Path:
    """The project's directory."""
    return ROOT


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: half of their time rehearsals wait for controllers. Four need 16 GiB of memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that rehearse come first: of those that take minutes none is to begin when the other cores have nothing left."""
    rehearse = {item.path for item in items if item.get_closest_marker("rehearsal")}
    items.sort(key=lambda item: item.path not in rehearse)


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the shell that runs the tests reaches them."""
    for name in ("KUBECONFIG", "PULUMI_CONFIG", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
