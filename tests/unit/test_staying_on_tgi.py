"""What stays on TGI while requests move to vLLM: an entry that a stack takes, and a server that is started as before."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.serving.tgi.arguments import OWNED, REFUSED, check_extra
from components.serving.tgi.image import TGI
from components.types import NodePool, NodePoolArgs
from planner.__main__ import main
from planner.tgi.launcher import flags, newest
from planner.tgi.parts import Finding, Given, Kind, Translation, verdicts
from planner.tgi.sources import from_command, from_manifest
from planner.tgi.staying import stay
from planner.tgi.translation import translate
from settings.models import ModelSettings
from settings.tgi import check_tgi
from tests.contracts.examples import POOL
from tests.unit.test_translate import COMMIT, KNOWN, MANIFEST

_POOL_ARGS: NodePoolArgs = {**POOL, "accelerator": {"per_node": 4}}
WIDE = NodePool.model_validate(_POOL_ARGS)
_VALUES = {
    "--waiting-served-ratio": "0.3",
    "--cuda-graphs": "1,2,4",
    "--rope-scaling": "linear",
    "--rope-factor": "2.0",
    "--quantize": "awq",
    "--dtype": "bfloat16",
    "--max-input-tokens": "4096",
    "--cuda-memory-fraction": "0.8",
    "--num-shard": "2",
}


def _kept(words: str, image: str = TGI) -> Translation:
    run = ["docker", "run", f"ghcr.io/huggingface/text-generation-inference:{image}", *words.split()]
    launch = from_command(run)
    return stay(launch, translate(launch, Given(source="a/b", revision=COMMIT, node_pool="l4", max_model_len=8192)))


def _accepted(entry: Any) -> ModelSettings:
    model = ModelSettings.model_validate(dict(entry))
    check_tgi(model, WIDE)
    return model


def test_every_argument_is_kept_or_left_or_decided_by_the_server() -> None:
    kept, left = verdicts()["kept"], verdicts()["left"]
    assert {*kept, *left, *OWNED, *REFUSED} == set(flags())
    assert not {*kept} & {*left, *OWNED, *REFUSED}


@pytest.mark.parametrize("flag", verdicts()["kept"])
def test_what_is_kept_is_what_a_server_may_be_given(flag: str) -> None:
    word = flag if flags()[flag].kind == "switch" else f"{flag}={_VALUES.get(flag, '7')}"
    check_extra([word], newest())
    since = flags()[flag].since
    made = _kept(word)
    if since is None:
        assert list(_accepted(made.entry).extra_arguments) == [word]
    else:
        assert [finding.about for finding in made.findings] == [flag]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--max-input-length=4096", {"engine": {"kind": "tgi", "tgi": {"maxInputTokens": 4096}}}),
        ("--quantize=awq --dtype=float16", {"engine": {"kind": "tgi", "tgi": {"quantize": "awq"}}}),
        ("--dtype=bfloat16 --num-shard=2", {"dtype": "bfloat16", "parallelism": {"tensor": 2}, "engine": {"kind": "tgi"}}),
        (
            "--speculate=64 --max-concurrent-requests=64 --max-batch-total-tokens=50000 --max-batch-size=9",
            {
                "maxNumSeqs": 9,
                "engine": {"kind": "tgi", "tgi": {"maxBatchTotalTokens": 50000, "maxConcurrentRequests": 64, "speculate": 32}},
            },
        ),
        ("--kv-cache-dtype=fp8_e5m2", {"engine": {"kind": "tgi", "tgi": {"kvCacheDtype": "fp8_e5m2"}}}),
        ("--max-batch-prefill-tokens=4096", {"maxNumBatchedTokens": 4096, "engine": {"kind": "tgi"}}),
        ("--cuda-memory-fraction=0.8", {"gpuMemoryUtilization": 0.8, "engine": {"kind": "tgi"}}),
        ("--disable-grammar-support=false", {"engine": {"kind": "tgi"}}),
    ],
)
def test_what_stays_as_it_was(words: str, expected: dict[str, Any]) -> None:
    made = _kept(words)
    _accepted(made.entry)
    common = {"source": "a/b", "revision": COMMIT, "nodePool": "l4", "maxModelLen": 8192}
    assert made.entry == common | expected
    assert made.findings == ()


def test_a_release_that_needs_root_gives_way_to_one_that_does_not() -> None:
    made = _kept("--payload-limit=1000", image=newest())
    assert made.entry["engine"] == {"kind": "tgi"}
    version, limit = made.findings
    assert (version.about, version.kind) == ("engine.version", Kind.CHANGED)
    assert f"it is {TGI}" in version.sentence
    assert limit == Finding(Kind.DROPPED, "--payload-limit", f"a server with TGI {TGI} is not given it here")
    assert _kept("", image="2.4.0").entry["engine"] == {"kind": "tgi", "version": "2.4.0"}


def test_the_guides_launch_stays_beside_its_translation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = from_manifest(MANIFEST)
    moved = translate(launch, KNOWN)
    kept = stay(launch, moved)
    assert (kept.name, kept.findings) == ("llama3-8b-tgi", ())
    assert _accepted(kept.entry).engine.by_tgi
    file = tmp_path / "tgi.yaml"
    file.write_text(MANIFEST)
    known = ["--source", str(KNOWN.source), "--revision", COMMIT, "--node-pool", "l4"]
    monkeypatch.setattr("sys.argv", ["planner", "translate", "--manifest", str(file), *known, "--keep"])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = yaml.safe_load(capsys.readouterr().out.split("\n\n")[0])
    assert printed == {"llama3-8b-tgi": dict(kept.entry), "llama3-8b": dict(moved.entry)}
