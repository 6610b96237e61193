from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.catalog import models
from planner.catalog.models import CatalogModel, UnknownModelError, merged, model, model_ids

FOLDER = Path(models.__file__).parent / "model_configs"
FIELDS = {"source": str, "parameters": int, "note": str, "base": str, "config": dict}
HIDDEN = {"hidden_size", "n_embd", "d_model"}
NOT_ARCHITECTURE = {
    "transformers_version",
    "torch_version",
    "auto_map",
    "id2label",
    "label2id",
    "use_cache",
    "initializer_range",
    "attention_dropout",
}


def files() -> list[Path]:
    return sorted(FOLDER.iterdir())


def id_of(path: Path) -> str:
    return path.stem.replace("--", "/", 1)


def keys_and_values(value: object) -> Iterator[tuple[str, object]]:
    """Every key of a configuration and of the mappings and lists in it, with its value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from keys_and_values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_and_values(inner)


@pytest.fixture(scope="module")
def entries() -> dict[str, dict[str, Any]]:
    return {id_of(path): yaml.safe_load(path.read_text(encoding="utf-8")) for path in files()}


def test_the_catalogue_holds_the_models_people_serve() -> None:
    assert len(model_ids()) >= 180
    for known in (
        "meta-llama/Llama-3.1-8B-Instruct",
        "Qwen/Qwen3-32B-FP8",
        "openai/gpt-oss-120b",
        "deepseek-ai/DeepSeek-R1",
        "google/gemma-3-27b-it",
    ):
        assert known in model_ids()


def test_every_file_is_an_entry_of_the_schema(entries: dict[str, dict[str, Any]]) -> None:
    for name, entry in entries.items():
        assert name.count("/") == 1, name
        assert not entry.keys() - FIELDS.keys(), name
        assert all(isinstance(value, FIELDS[field]) for field, value in entry.items()), name
        assert entry["source"].strip() == entry["source"] != "", name
        assert "\n" not in entry["source"], name
        assert entry.get("config") or entry.get("base"), name
        assert entry.get("parameters", 10**8) >= 10**8, name


def test_every_base_is_an_entry_and_every_chain_of_bases_ends(entries: dict[str, dict[str, Any]]) -> None:
    for name in entries:
        chain = [name]
        while base := entries[chain[-1]].get("base"):
            assert base in entries, f"{chain[-1]} has the base {base}"
            assert base not in chain, chain
            chain.append(base)


def test_every_id_gives_a_whole_configuration_without_what_says_nothing_about_memory() -> None:
    assert sorted(model_ids()) == sorted(id_of(path) for path in files())
    for name in model_ids():
        found = model(name)
        assert found.id == name
        text = found.config.get("text_config", found.config)
        assert HIDDEN & text.keys(), name
        assert {"num_hidden_layers", "layers_block_type"} & text.keys(), name
        assert {"vocab_size", "num_attention_heads"} <= text.keys(), name
        for key, value in keys_and_values(found.config):
            assert value is not None, f"{name}: {key} is null"
            assert key not in NOT_ARCHITECTURE, f"{name}: {key}"
            assert not key.endswith(("_token_id", "_token_index")), f"{name}: {key}"


def test_lists_of_layers_have_an_item_for_each_layer() -> None:
    for name in model_ids():
        config = model(name).config
        text = config.get("text_config", config)
        for key in (
            "layer_types",
            "mlp_layer_types",
            "indexer_types",
            "hybrid_layer_pattern",
            "block_configs",
            "layers_block_type",
        ):
            if key in text and "num_hidden_layers" in text:
                assert len(text[key]) == text["num_hidden_layers"], f"{name}: {key}"


def test_a_weight_format_in_the_name_stands_in_the_configuration() -> None:
    for name in model_ids():
        if name.lower().endswith(("-fp8", "-nvfp4", "-awq", "-awq-int4", "-dynamic", "w8a8", "w4a16", "bnb-4bit")):
            declared = model(name).config["quantization_config"]
            assert {"quant_method", "quant_algo"} & declared.keys(), name


def test_an_entry_with_a_base_is_the_base_with_what_it_changes() -> None:
    base, derived = model("meta-llama/Llama-3.3-70B-Instruct"), model("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic")
    assert {key: value for key, value in derived.config.items() if key != "quantization_config"} == dict(base.config)
    assert derived.config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert "rope_scaling" not in model("meta-llama/Meta-Llama-3-8B").config, "a null removes what the base has"


@pytest.mark.parametrize(
    "spelling", ["redhatai/llama-3.3-70b-instruct-fp8-dynamic", "REDHATAI/Llama-3.3-70B-Instruct-FP8-Dynamic"]
)
def test_an_id_is_found_in_any_case_and_answered_as_its_owner_writes_it(spelling: str) -> None:
    assert model(spelling).id == "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"


@pytest.mark.parametrize("near", ["Qwen/Qwen3-8B-Instruct", "Qwen3-8B", "qwen/qwen3-8", "Qwen/Qwen-3-8B"])
def test_an_unknown_id_is_answered_with_the_nearest_ones_and_the_way_around(near: str) -> None:
    with pytest.raises(UnknownModelError, match=r"is not in the model catalogue; the nearest are .*Qwen/Qwen3-8B") as refused:
        model(near)
    assert "--config FILE takes the config.json of any model" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("strange", ["", "/", "../catalog/instances", "x" * 500])
def test_an_id_like_no_other_is_refused_in_the_same_way(strange: str) -> None:
    with pytest.raises(UnknownModelError, match=r"is not in the model catalogue.*--config FILE"):
        model(strange)


def test_merging_leaves_what_it_merges_as_it_was() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1], "e": 3}
    assert merged(base, {"a": {"b": None, "f": 4}, "d": [2], "e": {"g": 5}, "h": None}) == {
        "a": {"c": 2, "f": 4},
        "d": [2],
        "e": {"g": 5},
    }
    assert base == {"a": {"b": 1, "c": 2}, "d": [1], "e": 3}
    assert merged({}, {"a": {"b": None}}) == {"a": {}}


def test_one_lookup_reads_only_the_files_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Path.read_text

    def noted(path: Path, encoding: str | None = None) -> str:
        read.append(path.name)
        return original(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", noted)
    models._load.cache_clear()
    first: CatalogModel = model("Qwen/QwQ-32B-AWQ")
    assert read == ["Qwen--QwQ-32B-AWQ.yaml", "Qwen--QwQ-32B.yaml", "Qwen--Qwen2.5-32B-Instruct.yaml"]
    assert model("qwen/qwq-32b-awq") is first
    assert len(read) == 3
