"""Variables beside VLLM_… that users may add to an engine, as variables.yaml has them. Pure."""

from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.files import load_yaml

_OF_ENGINE = "VLLM_"


def why_not(name: str) -> str | None:
    """Why a variable of that name is not for users to add and what to do instead; None where it is, or is the engine's own."""
    known = [each for group in _data()["allowed"] for each in group["variables"]]
    if name.startswith(_OF_ENGINE) or any(fnmatchcase(name, each) for each in known):
        return None
    return f"is not among the variables that only tune (components/serving/variables.yaml); {_instead(name, known)}"


def _instead(name: str, known: list[str]) -> str:
    for other in _data()["instead"]:
        if any(fnmatchcase(name, each) for each in other["variables"]):
            return str(other["remedy"])
    if close := get_close_matches(name, known, n=1, cutoff=0.75):
        return f"did you mean {close[0]}? Else set it in an image, named in engine.image"
    return "set it in an image and name that in engine.image"


@cache
def _data() -> Any:
    return load_yaml(Path(__file__).parent / "variables.yaml")
