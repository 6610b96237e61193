"""Stack files: what is accepted, and the one sentence each mistake gets."""

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import settings
from components.inputs import InputError, validate

WHERE = "stacks/Pulumi.local.yaml"


@pytest.fixture
def local(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / WHERE).read_text())
    return content


def _load(content: object, tmp_path: Path) -> settings.Settings:
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    loaded = settings.from_file(file, WHERE)
    settings.plan(loaded, WHERE, tmp_path)
    return loaded


def _set(content: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of `content` with the value at a dotted path replaced, or removed when it is `...`."""
    changed = copy.deepcopy(content)
    here = changed["config"]
    *parents, last = path.split("/")
    for part in parents:
        here = here[part]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return changed


MODEL = "llm-platform:models/qwen2-5-7b"
POOL = "llm-platform:cluster/nodePools/l4"

MISTAKES: list[tuple[str, object, str]] = [
    (
        f"{MODEL}/revision",
        ...,
        "models.qwen2-5-7b.revision is missing; add it, e.g. revision: b25037543e9394b818fdfca67ab2a00ecc7dd641",
    ),
    (
        f"{MODEL}/revision",
        "main",
        "models.qwen2-5-7b.revision: 'main' is not a commit of 40 hexadecimal digits, and anything else can be moved; "
        "use e.g. b25037543e9394b818fdfca67ab2a00ecc7dd641",
    ),
    (
        f"{MODEL}/replicas",
        "two",
        "models.qwen2-5-7b.replicas: 'two' is not a whole number; use e.g. replicas: 1",
    ),
    (
        f"{MODEL}/replicas",
        0,
        "models.qwen2-5-7b.replicas: 0 is not allowed; use 1 or more, e.g. replicas: 1",
    ),
    (f"{MODEL}/maxModelLength", 8192, "models.qwen2-5-7b.maxModelLength is not a known setting; did you mean maxModelLen?"),
    (f"{MODEL}/nodePool", "l40", "models.qwen2-5-7b.nodePool: 'l40' is not a pool of this cluster; known: l4"),
    (
        f"{MODEL}/parallelism",
        {"tensor": 2},
        "models.qwen2-5-7b.parallelism.tensor: 2 accelerators must share a node, but nodes of pool l4 have 1; "
        "use parallelism.tensor: 1 and parallelism.pipeline: 2, or larger nodes",
    ),
    (
        f"{MODEL}/replicas",
        3,
        "models: pool l4 is 2 accelerators short of what they ask for together; "
        "use cluster.nodePools.l4.maxNodes: 3 or fewer replicas",
    ),
    (
        f"{POOL}/maxNodes",
        4,
        "models.qwen2-5-7b.cache: a cache on a node's disk is on one node only, but pool l4 grows to 4; "
        "use a pool with maxNodes: 1",
    ),
    (
        f"{POOL}/labels",
        {},
        "cluster.nodePools.l4.labels is empty; add an entry, e.g. labels: {node.kubernetes.io/instance-type: g6.xlarge}",
    ),
    (
        f"{POOL}/taints/0/effect",
        "Never",
        "cluster.nodePools.l4.taints[0].effect: 'Never' is not known; use 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'",
    ),
    ("llm-platform:cluster", "local", "cluster: 'local' is not a mapping (key: value); use a mapping (key: value)"),
    ("llm-platform:cluster/kind", "gke", "cluster.kind: 'gke' is not known; use 'existing' or 'eks' or 'k3s'"),
    (
        "llm-platform:cluster/kubernetesVersion",
        1.36,
        'cluster.kubernetesVersion: 1.36 is not text; write kubernetesVersion: "1.36"',
    ),
    ("llm-platform:modles", {}, "modles is not a known setting; did you mean models?"),
    ("llm-platform:cluster", ..., "cluster is missing; add it"),
    (
        f"{MODEL}/source",
        "acme/secret-7b",
        "models.qwen2-5-7b: acme/secret-7b is not in the model catalogue; save its config.json in the project and name it, "
        "e.g. configFile: stacks/models/secret-7b.json",
    ),
    (
        f"{MODEL}/configFile",
        "nowhere.json",
        "models.qwen2-5-7b: nowhere.json: cannot be read (No such file or directory); "
        "give the config.json of a Hugging Face repository",
    ),
    (
        f"{MODEL}/maxModelLen",
        65536,
        "models.qwen2-5-7b: a context of 65536 tokens exceeds the 32768 positions of the model; use 32768 or less",
    ),
    (
        f"{POOL}/accelerator/product",
        "L5",
        "models.qwen2-5-7b: cluster.nodePools.l4.accelerator.product: 'L5' is not in the accelerator catalogue; the nearest are "
        "L4, L40, L40S; of another card give memoryGib alone",
    ),
    (
        "llm-platform:budget",
        {"usdPerMonth": 500},
        "budget.usdPerMonth: the stack costs 588 USD a month and the budget is 500, 88 too much; the dearest are qwen2-5-7b "
        "(588: 1 replica on 1 x g6.xlarge); no cut in replicas of one of them is enough: use smaller or cheaper instances, "
        "or raise the budget to 588",
    ),
]


@pytest.mark.parametrize(("path", "value", "sentence"), MISTAKES, ids=[f"{path}={value}" for path, value, _ in MISTAKES])
def test_a_mistake_gets_one_sentence(path: str, value: object, sentence: str, local: dict[str, Any], tmp_path: Path) -> None:
    if path.endswith("taints/0/effect"):
        changed = copy.deepcopy(local)
        changed["config"]["llm-platform:cluster"]["nodePools"]["l4"]["taints"][0]["effect"] = value
    else:
        changed = _set(local, path, value)
    with pytest.raises(InputError) as caught:
        _load(changed, tmp_path)
    assert str(caught.value) == f"{WHERE}: {sentence}"


@pytest.mark.parametrize("name", ["vllm", "Qwen", "qwen_7b", "-qwen", "q" * 64])
def test_a_model_whose_name_cannot_be_a_service_is_refused(name: str, local: dict[str, Any], tmp_path: Path) -> None:
    models = local["config"]["llm-platform:models"]
    models[name] = models.pop("qwen2-5-7b")
    with pytest.raises(InputError, match=rf"^{WHERE}: models\.") as caught:
        _load(local, tmp_path)
    assert "; use " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no settings; start with a line `config:` and the sections of stacks/Pulumi.local.yaml below"),
        ("config: {}", "has no settings; start with a line `config:` and the sections of stacks/Pulumi.local.yaml below"),
        ("just text", "has no settings; start with a line `config:` and the sections of stacks/Pulumi.local.yaml below"),
        (
            "config:\n  a: [1\n  b: 2\n",
            "is not YAML in line 3, column 4: expected ',' or ']', but got ':'; compare it with stacks/Pulumi.local.yaml",
        ),
    ],
)
def test_what_is_not_a_stack_file_gets_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _load(text, tmp_path)
    assert str(caught.value) == f"{WHERE}: {sentence}"


def test_every_fault_of_a_file_is_told_at_once(local: dict[str, Any], tmp_path: Path) -> None:
    broken = _set(_set(local, f"{MODEL}/revision", "main"), f"{MODEL}/source", "qwen")
    with pytest.raises(InputError) as caught:
        _load(broken, tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{WHERE}: models.qwen2-5-7b.") for line in lines)


def test_a_model_that_would_not_start_is_refused_with_the_numbers_and_three_changes_that_fit(
    local: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        _load(
            _set(_set(local, f"{MODEL}/source", "meta-llama/Llama-3.3-70B-Instruct"), f"{MODEL}/tokenSecret", {"name": "hf"}),
            tmp_path,
        )
    sentence = str(caught.value)
    assert sentence.startswith(
        f"{WHERE}: models.qwen2-5-7b: meta-llama/Llama-3.3-70B-Instruct does not fit on 1 x L4 with 22.0 GiB each: "
        "no memory is left for the KV cache: 131.45 weights + "
    )
    assert sentence.partition("; what fits: ")[2].count(", or ") == 2


def test_a_pool_without_a_card_cannot_be_planned(local: dict[str, Any], tmp_path: Path) -> None:
    unknown = _set(local, f"{POOL}/labels", {"pool": "gpu"})
    del unknown["config"]["llm-platform:cluster"]["nodePools"]["l4"]["accelerator"]["product"]
    with pytest.raises(InputError, match=r"accelerator\.product is missing, so nothing can be planned; name the card"):
        _load(unknown, tmp_path)
    memory = _set(unknown, f"{POOL}/accelerator", {"perNode": 1, "memoryGib": 22.0})
    _load(memory, tmp_path)
    typed = _set(unknown, f"{POOL}/labels", {"node.kubernetes.io/instance-type": "g6.xlarge"})
    _load(typed, tmp_path)


def test_a_long_value_is_not_repeated_in_full(local: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _load(_set(local, f"{MODEL}/revision", "x" * 5000), tmp_path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("stack", ["local"])
def test_committed_stacks_are_valid_for_the_program_and_for_editors(stack: str, root: Path) -> None:
    file = root / settings.stack_file(stack)
    settings.from_file(file, settings.stack_file(stack))
    schema = json.loads((root / "stacks/schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(file.read_text()), schema)


def test_the_committed_schema_is_fresh(root: Path) -> None:
    assert json.loads((root / "stacks/schema.json").read_text()) == settings.json_schema(), "run: make schema"


def test_the_schema_refuses_a_misspelt_section(local: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_set(local, "llm-platform:modles", {}), settings.json_schema())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["cluster", "models", "namespaces", "nonsense"])


@given(st.dictionaries(SECTIONS, JSON, max_size=4))
def test_no_input_whatever_ends_in_anything_but_a_sentence(raw: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        validate(settings.Settings, raw, WHERE)
    for line in str(caught.value).split(f"\n{WHERE}"):
        assert "Traceback" not in line
        assert len(line) < 700


@given(
    st.sampled_from(
        [
            "parallelism",
            "lora",
            "speculative",
            "engine",
            "drain",
            "apiKeySecret",
            "extraArguments",
            "replicas",
            "maxModelLen",
            "configFile",
            "cache",
            "nodePool",
            "source",
            "profile",
        ]
    ),
    JSON,
)
def test_any_value_of_any_setting_is_used_or_refused_by_name(key: str, value: object) -> None:
    content = yaml.safe_load((Path(settings.__file__).parents[1] / WHERE).read_text())["config"]
    raw = {k.removeprefix("llm-platform:"): v for k, v in content.items() if k.startswith("llm-platform:")}
    raw["models"]["qwen2-5-7b"][key] = value
    try:
        loaded = validate(settings.Settings, raw, WHERE)
        settings.plan(loaded, WHERE, Path(settings.__file__).parents[1])
    except InputError as error:
        sentences = str(error)
    else:
        sentences = "models"
        assert loaded.models["qwen2-5-7b"]
    assert "models" in sentences


def _models(place: Any, found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Every model that settings are made of."""
    if isinstance(place, type) and issubclass(place, BaseModel) and place not in found:
        found.add(place)
        for field in place.model_fields.values():
            _models(field.annotation, found)
    for argument in get_args(place):
        _models(argument, found)
    return found


FIELDS = sorted(
    ((model, field.alias or name) for model in _models(settings.Settings, set()) for name, field in model.model_fields.items()),
    key=lambda each: (each[0].__name__, each[1]),
)
WRONG: list[Any] = [None, 3.5, "!", [], {}, True, -1, 10**9, ["!"], [3.5], [None], {"a": None}, {"a": 3.5}, {"a": "!"}, {"a": []}]


def _sentences(model: type[BaseModel], data: object) -> list[str]:
    try:
        validate(model, data, "here")
    except InputError as error:
        return str(error).splitlines()
    return []


def _faults(model: type[BaseModel], data: object) -> list[str]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return [".".join(map(str, fault["loc"])) + "." for fault in error.errors() if fault["loc"][-1:] != ("[key]",)]
    return []


def test_whoever_follows_an_example_has_no_fault_there_any_more() -> None:
    followed = set()
    for (model, key), wrong in itertools.product(FIELDS, WRONG):
        for sentence in _sentences(model, {key: copy.deepcopy(wrong)}):
            found = re.fullmatch(rf"here: ({key}[\w.\[\]]*)(?:: .*| is (?:missing|empty).*) e\.g\. (.*)", sentence)
            if not found or re.search(r"…|\.\.\.", found[2]):
                continue
            steps = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", found[1])]
            entry = yaml.safe_load(found[2])
            if not isinstance(entry, (dict, list)) or (isinstance(entry, dict) and list(entry) != steps[-1:]):
                continue
            data = {key: copy.deepcopy(wrong)}
            here: Any = data
            for step in steps[:-1]:
                here = here[step]
            here[steps[-1]] = entry[0] if isinstance(entry, list) else entry[steps[-1]]
            path = ".".join(map(str, steps)) + "."
            assert not [fault for fault in _faults(model, data) if fault.startswith(path)], sentence
            followed.add((model, path))
    assert len(followed) > 200


TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWx1234567890"
SECRETS = [
    TOKEN,
    f"--api-key {TOKEN}",
    f"https://root:{TOKEN}@vault.example.com",
    "https://root:HunterTwo@vault.example.com",
    f"robot:HunterTwo@{'long.' * 20}example.com",
    "-----BEGIN PRIVATE KEY-----\nHunterTwo\n-----END PRIVATE KEY-----\n",
]


@pytest.mark.parametrize("secret", SECRETS, ids=[each[:30] for each in SECRETS])
def test_no_sentence_has_a_secret_or_what_was_made_of_one(secret: str) -> None:
    forms: list[Any] = [secret, [secret], {secret: secret}, {"a": secret}, {"a": [secret]}, {"kind": secret}, {"name": secret}]
    said = 0
    for (model, key), form in itertools.product(FIELDS, forms):
        for sentence in _sentences(model, {key: form}):
            letters = re.sub("[^a-z0-9]", "", sentence.lower())
            assert "abcdefghij" not in letters.replace("0123456789abcdef", ""), sentence
            assert "huntertwo" not in letters, sentence
            said += key in sentence
    assert said > 1000
