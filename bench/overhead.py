"""How much longer a preview takes than one by a flat program that asks for the same resources."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.flat import flat
from bench.ground import Measured, Previews, previews
from bench.measure import Spread, ratios, table

_REAL = "the program"
SAME, ALONE = "flat, the same resources", "flat, the objects alone"


def overhead(stack: str, runs: int) -> str:
    """Pairs of previews of a stack that is not there yet, in turn: by the program, and by the flat one with and without
    components."""
    with previews(stack) as found, tempfile.TemporaryDirectory(prefix="bench-flat-") as name:
        recording = Path(name) / "recording.json"
        wanted = found.preview(found.directory, recording)
        programs = {_REAL: found.directory} | flat_programs(recording, Path(name))
        _check(found, programs, recording, wanted)
        measured: dict[str, list[Measured]] = {label: [] for label in programs}
        for run in range(runs):
            # Each in turn goes first, so that none gains by its place.
            labels = [*programs][run % len(programs) :] + [*programs][: run % len(programs)]
            for label in labels:
                measured[label].append(found.preview(programs[label]))
    return _table(stack, measured)


def flat_programs(recording: Path, directory: Path) -> dict[str, Path]:
    """By label the directories of flat programs for what was recorded, below a directory."""
    noted = json.loads(recording.read_text())
    programs = {SAME: directory / "same", ALONE: directory / "alone"}
    for label, place in programs.items():
        place.mkdir()
        # A module, whose compiled form is kept, as a program of several files has it.
        (place / "flat_program.py").write_text(flat(noted, components=label == SAME))
        (place / "__main__.py").write_text("import flat_program\n")
    return programs


def _check(found: Previews, programs: dict[str, Path], recording: Path, wanted: Measured) -> None:
    """Only what asks for the same can be compared. Raises AssertionError."""
    again = recording.with_name("again.json")
    same = found.preview(programs[SAME], again)
    assert same.steps == wanted.steps, f"{same.steps} by the flat program, {wanted.steps} by the real one"
    asked, meant = (_asked(file) for file in (again, recording))
    assert asked == meant, f"other inputs: {sorted(urn for urn in meant if asked[urn] != meant[urn])}"
    alone = found.preview(programs[ALONE])
    objects = sum(1 for noted in json.loads(recording.read_text()) if noted.get("custom"))
    assert alone.steps["create"] == objects + 1  # and the stack


def _asked(recording: Path) -> dict[str, Any]:
    """Inputs by URN."""
    noted = json.loads(recording.read_text())
    return {each["urn"]: each.get("object") for each in noted if "Stack::" not in each["urn"]}


def _table(stack: str, measured: dict[str, list[Measured]]) -> str:
    base: Sequence[Measured] = measured[_REAL]
    rows = []
    for label, of in measured.items():
        taken = {key: [getattr(one, key) for one in of] for key in ("seconds", "cpu", "program", "mib")}
        cells = [label, of[0].steps["create"], *(Spread(values).text() for values in taken.values())]
        compared = [
            ratios([getattr(one, key) for one in base], taken[key]).text() if of is not base else ""
            for key in ("seconds", "cpu", "program")
        ]
        rows.append([*cells, *compared])
    head = [f"preview of `{stack}`, {len(base)} runs", "resources", "wall s", "CPU s, all", "CPU s, program", "MiB, program"]
    return table([*head, "the program takes, wall", "CPU, all", "CPU, program"], rows)
