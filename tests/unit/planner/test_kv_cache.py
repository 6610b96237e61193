"""Pages, groups and blocks of the cache by hand, and the search for the longest context."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.architecture import AttentionCache, Cache, LatentCache, StateCache, architecture
from planner.catalog.models import model as catalog_model
from planner.kv_cache import Group, Layout, layout, number_bits
from tests.unit.planner.cases import configs

IN_FLIGHT = 8192
GQA = AttentionCache(8, 128, 128)
MHA = AttentionCache(32, 128, 128)
MQA = AttentionCache(1, 128, 128)
MLA = LatentCache(512, 64)
SPARSE = LatentCache(512, 64, index_dim=128)
STATE = StateCache((((3, 96), 2), ((4, 8, 8), 4)), heads=4)
"""576 and 1024 bytes."""


def token(caches: Sequence[Cache], tensor: int = 1, bits: float = 16, *, mla: bool = True) -> float:
    """Bytes of one token in a block of the pool."""
    return layout(caches, tensor, bits, IN_FLIGHT, mla=mla).block_bytes / 16


def of_model(name: str, tensor: int = 1, bits: float = 16) -> Layout:
    facts = architecture(configs()[name] if name in configs() else catalog_model(name).config)
    return layout([layer.cache for layer in facts.layers if layer.cache], tensor, bits, IN_FLIGHT)


@pytest.mark.parametrize(
    ("cache", "tensor", "bits", "expected"),
    [
        (MHA, 1, 16, 32 * 256 * 2),
        (MHA, 8, 16, 4 * 256 * 2),
        (GQA, 1, 16, 8 * 256 * 2),
        (GQA, 8, 16, 256 * 2),
        (GQA, 16, 16, 256 * 2),  # replicated: a rank holds a whole head
        (GQA, 1, 8, 8 * 256),
        (GQA, 1, 32, 8 * 256 * 4),
        (GQA, 1, 4.5, 8 * 256 * 4.5 / 8),
        (MQA, 1, 16, 256 * 2),
        (MQA, 4, 16, 256 * 2),
        (AttentionCache(4, 192, 128), 2, 16, 2 * (192 + 128) * 2),
        (MLA, 1, 16, 576 * 2),
        (MLA, 8, 16, 576 * 2),  # whole on every rank
        (MLA, 8, 8, 576),
        (SPARSE, 8, 16, 576 * 2 + 128 + 4),
        (SPARSE, 8, 8, 656 + 128 + 4),
        (LatentCache(448, 64, compression=4), 1, 16, 512 * 2 / 4),
    ],
)
def test_bytes_of_a_token_by_kind_of_attention(cache: Cache, tensor: int, bits: float, expected: float) -> None:
    assert token([cache], tensor, bits) == expected
    assert token([cache] * 5, tensor, bits) == 5 * expected


def test_engines_without_latent_caches_keep_padded_keys_and_values_for_every_head() -> None:
    facts = architecture(configs()["deepseek-ai/DeepSeek-V2-Lite-Chat"])
    caches = [layer.cache for layer in facts.layers if layer.cache]
    assert token(caches, 1, mla=True) == 27 * 576 * 2
    assert token(caches, 1, mla=False) == 27 * 16 * (256 + 256) * 2, "192 is padded to 256"
    assert token(caches, 4, mla=False) == 27 * 4 * (256 + 256) * 2


@pytest.mark.parametrize(
    ("dtype", "model_bits", "checkpoint", "expected"),
    [
        ("auto", 16, None, 16),
        ("auto", 32, None, 32),
        ("auto", 16, "fp8", 8),
        ("bfloat16", 16, "fp8", 16),
        ("fp8", 16, None, 8),
        ("fp8_e5m2", 16, None, 8),
        ("FP8", 16, None, 8),
        ("nvfp4", 16, None, 4.5),
        ("int8_per_token_head", 16, None, 8.5),
        ("something-new", 16, None, 16),
    ],
)
def test_bits_of_a_cached_number(dtype: str, model_bits: int, checkpoint: str | None, expected: float) -> None:
    assert number_bits(dtype, model_bits, checkpoint) == expected


@pytest.mark.parametrize(
    ("name", "groups", "layers", "bytes_of_a_token"),
    [
        ("openai/gpt-oss-20b", 2, 12, 8 * 128 * 2),  # 12 with a window, 12 without
        ("google/gemma-2-27b-it", 2, 23, 16 * 256 * 2),
        ("google/gemma-2-2b-it", 2, 13, 4 * 512 * 2),
        ("google/gemma-3-12b-it", 6, 8, 8 * 512 * 2),  # five with a window for one without
        ("meta-llama/Llama-3.1-8B", 1, 32, 8 * 256 * 2),
    ],
)
def test_layers_that_cache_differently_form_groups_of_one_size(
    name: str, groups: int, layers: int, bytes_of_a_token: int
) -> None:
    found = of_model(name)
    assert len(found.groups) == groups
    assert found.block_bytes == 16 * layers * bytes_of_a_token
    assert {group.block_tokens for group in found.groups} == {16}


def test_recurrent_layers_join_in_groups_with_padding() -> None:
    # 6 layers of attention and 23 of Mamba: groups of 6, four of them for Mamba with one layer of padding.
    found = of_model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4")
    assert [group.state_pages for group in found.groups] == [0, 2, 2, 2, 2]
    facts = architecture(configs()["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4"])
    state = next(layer.cache for layer in facts.layers if isinstance(layer.cache, StateCache)).bytes(1)
    block = found.groups[0].block_tokens
    assert found.block_bytes == 6 * block * 2 * 256 * 2
    assert block * 2 * 256 * 2 >= state > (block - 16) * 2 * 256 * 2, "a block is just long enough to hold a state"
    once = layout([layer.cache for layer in facts.layers if layer.cache], 1, 16, IN_FLIGHT, prefix_caching=False)
    assert [group.state_pages for group in once.groups] == [0, 1, 1, 1, 1]


def test_a_model_of_recurrent_layers_alone_has_one_page_a_request() -> None:
    found = layout([STATE] * 3, 1, 16, IN_FLIGHT)
    assert found.block_bytes == 3 * 1600
    assert found.request_bytes(1) == found.request_bytes(100_000) == 3 * 1600
    assert layout([STATE] * 3, 2, 16, IN_FLIGHT).block_bytes == 3 * 800


def test_narrower_layers_get_longer_blocks_so_that_pages_are_of_one_size() -> None:
    found = layout([AttentionCache(8, 64, 64), AttentionCache(4, 64, 64, window=128)], 1, 16, IN_FLIGHT)
    assert [(group.block_tokens, group.window) for group in found.groups] == [(16, None), (32, 128)]
    assert found.block_bytes == 16 * 8 * 128 * 2


def test_a_window_saves_nothing_until_it_and_a_batch_are_shorter_than_the_context() -> None:
    full, windowed = Group(16), Group(16, window=1024)
    assert full.blocks(4096, 8192) == 256
    assert windowed.blocks(4096, 8192) == 257, "one more than full attention: a window need not begin where a block does"
    assert windowed.blocks(100_000, 8192) == 1 + (1023 + 8192 + 15) // 16
    assert windowed.blocks(100_000, 2048) < windowed.blocks(100_000, 8192)
    assert Group(16, chunk=8192).blocks(100_000, 2048) == (8192 + 2048) // 16


def test_capacity_counts_whole_blocks_and_prints_tokens_as_the_version_does() -> None:
    one = layout([GQA] * 2, 1, 16, IN_FLIGHT)
    size = 10 * one.block_bytes + 1
    found = one.capacity(size, 64, tokens_from_concurrency=False)
    assert (found.blocks, found.tokens, found.concurrency) == (10, 160, 2.5)
    assert one.capacity(size, 64, tokens_from_concurrency=True).tokens == 160
    two = layout([GQA, AttentionCache(8, 128, 128, window=1024)], 1, 16, IN_FLIGHT)
    by_groups = two.capacity(100 * two.block_bytes, 64, tokens_from_concurrency=False)
    assert (by_groups.blocks, by_groups.tokens) == (100, 100 // 2 * 16)
    assert by_groups.concurrency == 100 / (4 + 5)
    assert two.capacity(100 * two.block_bytes, 64, tokens_from_concurrency=True).tokens == int(100 / 9 * 64)
    for nothing in (0.0, -5.0, one.block_bytes - 1):
        empty = one.capacity(nothing, 64, tokens_from_concurrency=True)
        assert (empty.blocks, empty.tokens, empty.concurrency) == (0, 0, 0.0)


def test_layers_without_a_cache_leave_the_context_unbounded() -> None:
    none = layout([], 1, 16, IN_FLIGHT)
    assert (none.groups, none.longest(0, 5000), none.request_bytes(5000)) == ((), 5000, 0)


caches = st.lists(
    st.sampled_from([GQA, MQA, MLA, STATE, AttentionCache(8, 128, 128, window=40), AttentionCache(2, 64, 64, chunk=48)]),
    min_size=1,
    max_size=6,
)


@given(caches, st.sampled_from([1, 2, 8]), st.integers(1, 64), st.integers(0, 40), st.integers(1, 400))
def test_the_longest_context_is_what_trying_every_length_finds(
    chosen: list[Cache], tensor: int, in_flight: int, blocks: int, limit: int
) -> None:
    found = layout(chosen, tensor, 16, in_flight)
    size = blocks * found.block_bytes
    tried = max((length for length in range(1, limit + 1) if found.request_bytes(length) <= size), default=0)
    assert found.longest(size, limit) == tried
    assert all(found.request_blocks(length) <= found.request_blocks(length + 1) for length in range(1, limit))
