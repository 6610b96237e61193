"""What each engine version has: its flags, metrics and parsers, as recorded in `engines/`. Pure."""

from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.files import load_yaml

_TABLES = Path(__file__).parent / "engines"


@cache
def engine_table(version: str, what: str = "flags") -> Any:
    """The table of `flags`, `metrics` or `parsers` of that version. Raises ValueError for a version nobody recorded."""
    suffix = "" if what == "flags" else f"-{what}"
    table = _TABLES / f"vllm-{version}{suffix}.yaml"
    if not table.exists():
        recorded = _TABLES.glob(f"vllm-[0-9]*[0-9]{suffix}.yaml")
        known = ", ".join(sorted(path.stem.removeprefix("vllm-").removesuffix(suffix) for path in recorded))
        raise ValueError(f"the {what} of vLLM {version} are not recorded; use one of {known}")
    return load_yaml(table)
