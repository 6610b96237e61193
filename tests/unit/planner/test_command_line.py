"""`python -m planner`: names of options and keys, exit codes, and one sentence for everything that cannot be answered."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planner.__main__ import main
from planner.catalog.hardware import accelerators, instance_types
from planner.catalog.models import model as catalog_model
from planner.catalog.models import model_ids
from planner.request import ANSWER

ROOT = Path(__file__).parents[3]
FIT = ["fit", "--model", "Qwen/Qwen3-8B", "--gpu", "L4"]
PLAN = ["plan", "--model", "Qwen/Qwen3-8B"]


@dataclass(frozen=True)
class Ran:
    """What a command printed and returned."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output read as JSON, in which nothing that JSON does not have may be."""
        return json.loads(self.out, parse_constant=pytest.fail)


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["planner", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return command


def test_fit_answers_in_json_with_the_documented_keys(run: Run) -> None:
    refused, fits = run(*FIT, "--json"), run(*FIT, "--max-model-len", "8192", "--json")
    assert (refused.code, fits.code) == (0, 0), "a refusal is an answer"
    assert list(refused.json) == list(fits.json) == list(ANSWER)
    assert (refused.json["fits"], fits.json["fits"], fits.json["reason"]) == (False, True, None)
    assert fits.err == ""


def test_every_option_of_fit_reaches_the_plan(run: Run) -> None:
    plain = run(*FIT, "--max-model-len", "8192", "--json").json
    for change in (
        "--tensor-parallel-size 2",
        "--pipeline-parallel-size 2",
        "--data-parallel-size 2",
        "--gpu-memory-utilization 0.8",
        "--max-num-seqs 8",
        "--max-num-batched-tokens 16384",
        "--kv-cache-dtype fp8",
        "--quantization fp8",
        "--dtype float32",
        "--vllm-version 0.10.1",
        "--enforce-eager",
        "--gpu-memory-gib 40",
    ):
        changed = run(*FIT, "--max-model-len", "8192", "--json", *change.split())
        assert changed.code == 0, changed.err
        # Each data-parallel rank has a memory of its own, so their number changes nothing for one.
        assert (changed.json != plain) is (change != "--data-parallel-size 2"), change
    assert run(*FIT, "--enable-expert-parallel", "--json").code == 0


def test_fit_takes_a_config_and_a_card_by_its_memory(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(dict(catalog_model("Qwen/Qwen3-8B").config)))
    own = run("fit", "--config", str(file), "--gpu", "nvidia-l4-24gb", "--json")
    assert own.json == run(*FIT, "--json").json
    assert run("fit", "--config", str(file), "--gpu-memory-gib", "80", "--json").json["fits"]


def test_fit_tells_people_the_numbers_and_what_would_fit(run: Run) -> None:
    refused = run(*FIT).out
    assert "it does not fit: one request of 40960 tokens needs 5.62 GiB of KV cache" in refused
    assert refused.count("it would fit with ") == 3
    fits = run(*FIT, "--max-model-len", "8192").out
    assert "it fits" in fits
    for part in ("weights", "non-torch", "activation", "CUDA graphs", "KV cache", "█"):
        assert part in fits


def test_warnings_go_to_the_error_output(run: Run) -> None:
    found = run("fit", "--model", "Qwen/Qwen3-0.6B", "--gpu", "T4", "--json")
    assert found.json["fits"]
    assert found.err.startswith("warning: T4 (compute capability 7.5) has no bfloat16; ")


def test_batch_answers_line_by_line_whatever_the_lines_are(run: Run) -> None:
    good = {"model": "Qwen/Qwen3-8B", "gpu": "L4", "max_model_len": 8192}
    lines = [
        json.dumps(good),
        "not json",
        "[]",
        '{"gpu": "L4"}',
        '{"model": "nobody/nothing", "gpu": "L4"}',
        json.dumps(good | {"max_num_seqs": -3}),
        json.dumps(good | {"max_num_seqs": float("nan")}),
        json.dumps(good | {"max_model_len": 10**400}),
        '{"max_num_seqs": ' + "9" * 5000 + "}",
        "[" * 100_000,
        json.dumps(good | {"tensor_parallel_size": 2**31}),
        json.dumps(good | {"colour": "red", "[/x]": 1, "tensor_parallel": 2}),
        json.dumps(good | {"colour": "blue"}),
        json.dumps({"config": dict(catalog_model("Qwen/Qwen3-8B").config), "gpu": "L4", "max_model_len": 8192}),
    ]
    stdin = "\n".join(lines).encode() + b"\n\n   \n\xff\xfe\n" + lines[0].encode()
    found = run("fit", "--batch", stdin=stdin)
    assert found.code == 0
    answers = [json.loads(line, parse_constant=pytest.fail) for line in found.out.splitlines()]
    assert len(answers) == len(lines) + 2, "a line for each that is not empty"
    assert all(list(one) == list(ANSWER) for one in answers)
    assert [one["fits"] for one in answers] == [True, *[False] * 10, True, True, True, False, True]
    assert answers[0] == answers[-1] == answers[11] == answers[13]
    assert found.err.splitlines() == [
        "warning: colour is not an option and was ignored",
        "warning: [/x] is not an option and was ignored",
        "warning: tensor_parallel is not an option and was ignored; did you mean tensor_parallel_size?",
    ], "each once"


def test_batch_runs_as_a_process() -> None:
    lines = b'{"model": "Qwen/Qwen3-8B", "gpu": "H100"}\n\xff\n'
    done = subprocess.run(
        [sys.executable, "-m", "planner", "fit", "--batch"], input=lines, capture_output=True, cwd=ROOT, check=True
    )
    assert [json.loads(line)["fits"] for line in done.stdout.splitlines()] == [True, False]
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fit"], "no model is given; use --model ID from the catalogue or --config FILE"),
        (["fit", "--model", "Qwen/Qwen3-8B"], "no accelerator is given; use --gpu NAME from the catalogue or --gpu-memory-gib X"),
        ([*FIT, "--max-model-len", "0"], "max_model_len: 0 is not possible; use a number above 0 and up to 2.14748e+09"),
        ([*FIT, "--gpu-memory-utilization", "nan"], "gpu_memory_utilization: nan is not a number"),
        (
            ["fit", "--model", "[/x]", "--gpu", "L4"],
            "[/x] is not in the model catalogue; --config FILE takes the config.json of any model",
        ),
        (
            ["fit", "--config", "missing.json", "--gpu", "L4"],
            "missing.json: cannot be read (No such file or directory); give the config.json of a Hugging Face repository",
        ),
        ([*PLAN, "--profile", "fast"], "'fast' is not a profile; use one of balanced, throughput, latency, long-context"),
        ([*PLAN, "--context", "50000"], "a context of 50000 tokens exceeds the 40960 positions of the model; use 40960 or less"),
        ([*PLAN, "--price", "g6.xlarge=cheap"], "--price g6.xlarge=cheap: 'cheap' is not an amount; use e.g. g6.xlarge=0.80"),
        (["catalog", "books"], "'books' is not a catalogue; use models, accelerators or instances"),
        (
            ["explain", "missing"],
            "stacks/Pulumi.missing.yaml: cannot be read (No such file or directory); the stacks of this project lie in stacks/",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_code_2(run: Run, arguments: list[str], sentence: str) -> None:
    found = run(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err == f"error: {sentence}\n"


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([*PLAN, "--accelerator", "nonsense"], "error: 'nonsense' is not in the accelerator catalogue; the nearest are "),
        ([*PLAN, "--price", "g6.large=1"], "error: g6.large is not in the instance catalogue; the nearest are g6"),
        (["fit", "--model", "Qwen/Qwen3-9B", "--gpu", "L4"], "error: Qwen/Qwen3-9B is not in the model catalogue; the nearest"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(run: Run, arguments: list[str], start: str) -> None:
    found = run(*arguments)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err.startswith(start)


@pytest.mark.parametrize("content", ["not json", "[1]", "9" * 5000, "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_configuration_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = run("fit", "--config", str(file), "--gpu", "L4")
    assert found.code == 2
    assert found.err.startswith(f"error: {file}: is not ")
    assert found.err.endswith("; give the config.json of a Hugging Face repository\n")


@pytest.mark.parametrize("option", ["--context", "--concurrency"])
@pytest.mark.parametrize("value", ["0", "-5", "1" + "0" * 400])
def test_plan_refuses_numbers_without_a_meaning(run: Run, option: str, value: str) -> None:
    found = run(*PLAN, option, value)
    assert found.code == 2
    assert "Traceback" not in found.err


def test_plan_ranks_by_price_and_says_why_the_rest_was_rejected(run: Run) -> None:
    found = run(*PLAN, "--context", "8192", "--concurrency", "16", "--json").json
    prices = [plan["usd_per_hour"] for plan in found["plans"]]
    known = [price for price in prices if price is not None]
    assert known == sorted(known)
    assert prices[: len(known)] == known, "those without a price come last"
    assert all(plan["max_model_len"] == 8192 for plan in found["plans"])
    assert all(plan["servers"] * min(plan["max_concurrency"], plan["max_num_seqs"]) >= 16 for plan in found["plans"])
    assert all(one["hardware"] and one["reason"] for one in found["rejected"])
    best = found["plans"][0]
    assert list(best)[:4] == ["hardware", "accelerator", "tensor_parallel_size", "pipeline_parallel_size"]
    assert sum(best["memory_gib"].values()) == pytest.approx(accelerators()[best["accelerator"]].memory_gib, abs=0.01), (
        "the parts make the whole"
    )


def test_plan_takes_prices_cards_and_regions(run: Run) -> None:
    only = run(*PLAN, "--accelerator", "l4", "--accelerator", "NVIDIA-H100", "--json").json["plans"]
    assert {plan["accelerator"] for plan in only} == {"L4", "H100-80GB"}
    cheap = run(*PLAN, "--price", "p5.48xlarge=0.01", "--json").json["plans"][0]
    assert (cheap["hardware"], cheap["usd_per_hour"]) == ("p5.48xlarge", 0.01)
    nowhere = run(*PLAN, "--accelerator", "L4", "--region", "mars-north-1", "--json").json["plans"]
    assert nowhere
    assert {plan["usd_per_hour"] for plan in nowhere} == {None}, "a price that is not known is not guessed"
    shown = run(*PLAN, "--accelerator", "L4", "--region", "mars-north-1", "--most", "2").out
    assert "?" in shown


def test_plan_says_so_when_nothing_can_serve(run: Run) -> None:
    found = run("plan", "--model", "deepseek-ai/DeepSeek-R1", "--accelerator", "T4")
    assert found.code == 0
    assert found.out.startswith("nothing on offer can serve this:\n")
    assert "g4dn.xlarge: no memory is left for the KV cache" in found.out


@pytest.mark.parametrize("amount", ["nan", "inf", "-3"])
def test_plan_refuses_prices_that_are_none(run: Run, amount: str) -> None:
    assert run(*PLAN, "--accelerator", "L4", "--price", f"g6.xlarge={amount}").code == 2


def test_catalogues_are_printed_whole_with_their_sources(run: Run) -> None:
    for what, names, key in (
        ("models", model_ids(), "model"),
        ("accelerators", accelerators(), "accelerator"),
        ("instances", instance_types(), "instance"),
    ):
        rows = run("catalog", what, "--json").json
        assert [row[key] for row in rows] == list(names)
        if what != "instances":
            assert all(row["source"] for row in rows)
        else:
            assert all(row["price_source"] for row in rows if row["usd_per_hour"] is not None)
    assert len(model_ids()) >= 40
    assert "sources: --json" in run("catalog", "accelerators").out


def test_explain_shows_every_number_of_a_stack_with_formula_and_source(run: Run) -> None:
    found = run("explain", "local", "--json")
    assert found.code == 0, found.err
    assert list(found.json) == ["qwen2-5-7b"]
    rows = found.json["qwen2-5-7b"]
    assert all(list(row) == ["name", "value", "formula", "source"] and all(row.values()) for row in rows)
    assert {"weights", "KV cache", "start: startup probe"} <= {row["name"] for row in rows}
    shown = run("explain", "local").out
    assert "pool l4: 0 accelerators free at its largest" in shown
    assert "USD a month" in shown
