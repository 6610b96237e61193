from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.models import model as catalogued
from planner.cold_start import ColdStart, UnknownStorageError, check_storage, cold_start, storage_backend, storages
from planner.drain import Drain, check_drain
from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.model import Model, load
from planner.options import Options
from planner.timeouts import (
    engine_ready_seconds,
    karpenter_consolidate_after_seconds,
    keda_cooldown_seconds,
    progress_deadline_seconds,
    startup_probe_seconds,
    timeouts,
)

GIB = 1024**3
STORAGE = st.sampled_from([backend.name for backend in storages()])


@cache
def model(name: str = "meta-llama/Llama-3.1-8B-Instruct") -> Model:
    return load(catalogued(name).config, name=name)


def start(gib: float, storage: str = "hostPath-nvme", readers: int = 1, **arguments: Any) -> ColdStart:
    return cold_start(model(), Options(), storage=storage, readers=readers, checkpoint_bytes=gib * GIB, **arguments)


@given(STORAGE, st.floats(0.1, 2000), st.floats(1, 3), st.integers(1, 32))
def test_more_bytes_and_more_readers_never_start_sooner(storage: str, gib: float, factor: float, readers: int) -> None:
    few = start(gib, storage, readers)
    assert start(gib * factor, storage, readers).total_s >= few.total_s
    assert start(gib, storage, readers + 1).total_s >= few.total_s
    assert few.warm_s <= few.container_s <= few.total_s


@given(STORAGE, STORAGE, st.floats(0.1, 2000), st.integers(1, 32))
def test_faster_storage_never_starts_later(one: str, other: str, gib: float, readers: int) -> None:
    slow, fast = sorted((one, other), key=lambda name: storage_backend(name).rate(readers))
    assert start(gib, fast, readers).total_s <= start(gib, slow, readers).total_s


@given(STORAGE, st.floats(0.1, 2000), st.booleans(), st.booleans(), st.booleans())
def test_what_is_there_already_never_makes_it_later(storage: str, gib: float, node: bool, image: bool, compiled: bool) -> None:
    prepared = start(gib, storage, node_ready=node, image_cached=image, compile_cached=compiled)
    assert prepared.total_s <= start(gib, storage).total_s
    assert (prepared.node_s == 0) is node
    assert (prepared.image_s == 0) is image


@given(STORAGE, st.floats(0.1, 2000), st.integers(1, 32))
def test_every_time_out_outlasts_the_start_it_waits_for(storage: str, gib: float, readers: int) -> None:
    cold = start(gib, storage, readers)
    probe = startup_probe_seconds(cold)
    assert probe >= max(360, 2 * cold.container_s)
    assert probe % 10 == 0
    assert progress_deadline_seconds(cold) >= cold.node_s + cold.image_s + probe
    assert keda_cooldown_seconds(cold) >= max(300, cold.total_s)
    assert karpenter_consolidate_after_seconds(cold) >= max(600, 2 * cold.total_s)
    assert engine_ready_seconds(startup_probe_seconds(cold)) >= max(600, 2 * cold.container_s)


def test_the_guides_probe_budgets_are_met_from_a_local_disk_and_exceeded_from_slow_storage() -> None:
    assert startup_probe_seconds(start(13, node_ready=True, image_cached=True)) == 360
    assert startup_probe_seconds(start(130)) == 1260
    assert startup_probe_seconds(start(130, "nfs", 4)) > 1260


def test_a_measured_start_takes_about_as_long_as_predicted() -> None:
    # kaito-project/kaito#2325, phases from the node to the HTTP server; its image had 5.6 GB and weights came from elsewhere.
    cold = cold_start(model("Qwen/Qwen3-32B"), Options(), storage="hostPath-nvme", image_gib=5.6e9 / GIB)
    assert cold.node_s + cold.image_s == pytest.approx(284 + 126 + 101, rel=0.02)
    assert cold.compile_s + cold.graphs_s == pytest.approx(195, rel=0.35)
    # modelplaneai/modelplane#204: two nodes, each reading 894 GiB from EFS, 43 minutes.

    gang = cold_start(model(), Options(), storage="efs", nodes=2, checkpoint_bytes=894 * GIB)
    assert gang.weights_s == pytest.approx(43 * 60, rel=0.01)


def test_eager_mode_neither_compiles_nor_captures() -> None:
    cold = cold_start(model(), Options(enforce_eager=True), storage="hostPath-nvme")
    assert (cold.compile_s, cold.graphs_s) == (0, 0)


def test_every_number_has_its_formula_and_source() -> None:
    cold = start(16)
    assert sum(row.value for row in cold.derived) == pytest.approx(cold.total_s)
    assert all(row.formula and row.source for row in (*cold.derived, *timeouts(cold)))


def test_provisioned_throughput_replaces_the_default_within_what_the_backend_can_do() -> None:
    assert storage_backend("block-gp3").rate(1, 1000) == 1000
    assert storage_backend("nfs").rate(4, 2000) == 500
    alone, gang = (cold_start(model(), Options(), storage="nfs", nodes=nodes, read_mb_per_s=2000) for nodes in (1, 4))
    assert gang.weights_s == pytest.approx(4 * alone.weights_s)
    with pytest.raises(ValueError, match="block-gp3 gives a reader at most 2097 MB/s, not 5000"):
        storage_backend("block-gp3").rate(1, 5000)


def test_an_unknown_storage_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownStorageError) as refusal:
        cold_start(model(), Options(), storage="ceph")
    assert str(refusal.value) == (
        "storage 'ceph' is not in the catalogue; use hostPath-nvme, block-gp3, efs, nfs, fsx-lustre, s3-mountpoint or s3-streamer"
    )
    with pytest.raises(UnknownStorageError, match="use warm, bare-metal, karpenter or managed-node-group"):
        cold_start(model(), Options(), storage="nfs", node="fargate")


def test_a_drain_that_is_cut_short_is_refused_in_one_sentence() -> None:
    assert check_drain(10, 60, 20, 90, spot=True) is None
    assert check_drain(10, 60, 20, 60, spot=False) == (
        "terminationGracePeriodSeconds 60 is less than preStop 10 s + a shutdown timeout of 60 s + teardown 20 s = 90 s; "
        "use 90 or more"
    )
    assert check_drain(10, 90, 20, 120, spot=True) is None
    assert check_drain(10, 91, 20, 121, spot=True) is not None
    assert check_drain(10, 300, 20, 400, spot=False) is None
    assert check_drain(10, 300, 20, 400, spot=True) == (
        "preStop 10 s + a shutdown timeout of 300 s + teardown 20 s = 330 s is more than the 120 s a spot interruption leaves; "
        "use a shutdown timeout of 90 s"
    )
    assert Drain().grace == 90


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 900), st.booleans())
def test_a_drain_is_accepted_exactly_when_it_has_the_time(
    pre_stop: int, drain: int, teardown: int, grace: int, spot: bool
) -> None:
    needed = pre_stop + drain + teardown
    assert (check_drain(pre_stop, drain, teardown, grace, spot) is None) is (grace >= needed and not (spot and needed > 120))


def test_host_resources() -> None:
    assert [shared_memory_mib(count) for count in (1, 2, 8)] == [2048, 16384, 65536]
    assert host_memory_mib(5.2, 1, 2048) == 5325 + 4096 + 2048
    assert host_memory_mib(5.2, 2, 16384, "eager") == 2 * 5120 + 4096 + 16384
    assert host_memory_mib(60, 2, 16384, "eager") == host_memory_mib(60, 2, 16384)
    assert [cpus(count) for count in (1, 8)] == [3, 10]
    with pytest.raises(ValueError, match="use lazy, prefetch or eager"):
        host_memory_mib(5.2, 1, 2048, "fast")


def test_storage_too_small_too_slow_or_streamed_for_nothing_is_refused() -> None:
    assert check_storage(10 * GIB, 12, "hostPath-nvme", 360) == ()
    assert check_storage(10 * GIB, 11, "hostPath-nvme", 360) == (
        "11 GiB of hostPath-nvme are less than 1.2 x 10.0 GiB of weights; use 12 GiB or more",
    )
    assert check_storage(894 * GIB, None, "efs", 1800) == (
        "reading 894.0 GiB from efs at 372 MB/s takes 2580 s and the startup probe allows 1800 s; "
        "use a probe of 5170 s, or hostPath-nvme",
    )
    assert check_storage(10 * GIB, None, "hostPath-nvme", 360, load_format="runai_streamer") == (
        "--load-format runai_streamer gains nothing on hostPath-nvme, a local disk (marin-community/marin#7136); use auto",
    )
    assert check_storage(10 * GIB, None, "s3-streamer", 360, load_format="runai_streamer") == ()
