"""The servers of every stack keep the invariants between their parts."""

from collections.abc import Mapping

import pytest

import settings
from components.serving.invariants import broken
from tests.conftest import ROOT
from tests.judges.objects import named_objects
from tests.recorder import Recording
from tests.stacks.program import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_no_invariant_is_broken(stack: str, recordings: Mapping[str, Recording]) -> None:
    file = settings.stack_file(stack)
    config = settings.from_file(ROOT / file, file)
    pools = [config.cluster.pool(name) for name in config.cluster.node_pools]
    objects = named_objects(recordings[stack])
    named = [obj for obj in objects if obj["kind"] in ("Deployment", "LeaderWorkerSet")]
    servers = [obj for obj in named if obj["metadata"]["labels"]["app.kubernetes.io/component"] == "model-server"]
    assert len(servers) == len(config.models)
    assert broken(objects, pools) == []
