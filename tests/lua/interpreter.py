"""Calls functions of a Lua script as Fluent Bit's filter does, in an interpreter whose modules go.sum pins."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sandbox.toolchain.golang import ensure_go, required_go

_FOLDER = Path(__file__).parent
_DROPPED = "-1"
"""The code by which a filter drops a record (docs.fluentbit.io, "Lua"); with 0 it passes as it is."""


@dataclass(frozen=True)
class Lua:
    """An interpreter."""

    program: Path

    @classmethod
    def built(cls, directory: Path) -> "Lua":
        """One built into `directory`."""
        go = ensure_go(required_go(_FOLDER / "go.mod"), Console(quiet=True))
        program = directory / "lua"
        package = "github.com/yuin/gopher-lua/cmd/glua"
        build: list[str | Path] = [go, "build", "-C", _FOLDER, "-mod=readonly", "-o", program, package]
        subprocess.run(build, check=True, capture_output=True)
        return cls(program)

    def passed(self, script: Path, function: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> list[bool]:
        """Whether a filter lets records pass, one after the other, each with its tag."""
        calls = [f"print(({function}({_literal(tag)}, 0, {_literal(record)})))" for tag, record in records]
        main = self.program.with_suffix(".lua")
        main.write_text("\n".join([f"dofile({_literal(str(script))})", *calls]), "utf-8")
        done = subprocess.run([self.program, main], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        codes = done.stdout.split()
        assert set(codes) <= {_DROPPED, "0"}
        return [code != _DROPPED for code in codes]


def _literal(value: Any) -> str:
    """A value in Lua's own words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{_literal(key)}] = {_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in value.encode())
        return f'"{"".join(plain)}"'
    return json.dumps(value)
