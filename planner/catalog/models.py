"""The model catalogue: configurations of public models, one file each in `model_configs`.

A file is named after the repository, `<owner>--<name>.yaml`, and holds what its `config.json` says about architecture,
quantization and context: `source` (where that is from), `config` (without keys that are null; lists that name a module of every
layer have one pattern for it), and where known `parameters` (all of them, with embeddings and encoders) and `note` (what is
uncertain). An entry with `base` is another entry with the keys of its own `config` laid over it; a null there removes the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.catalog.files import load_yaml

_FOLDER = Path(__file__).parent / "model_configs"


class UnknownModelError(LookupError):
    """The catalogue has no such model; `fact` names the nearest ones, and the message the command line's way round."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}; --config FILE takes the config.json of any model")
        self.fact = fact


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of the catalogue."""

    id: str
    """The repository, `<owner>/<name>`, as its owner writes it."""
    config: Mapping[str, Any]
    """What its `config.json` says, with everything that `base` gives."""
    source: str
    parameters: int | None
    """Number of all parameters, where it is published."""
    note: str | None
    """What is uncertain about the entry."""


def model(id: str) -> CatalogModel:  # noqa: A002 the field is called id
    """The model of the repository `id`, in whatever case it is written.

    Raises UnknownModelError when the catalogue has none of that name.
    """
    known = _ids_in_lower_case()
    if id.lower() in known:
        return _load(known[id.lower()])
    near = nearest(id)
    raise UnknownModelError(f"{id} is not in the model catalogue" + (f"; the nearest are {', '.join(near)}" if near else ""))


def model_ids() -> tuple[str, ...]:
    """Every model of the catalogue, sorted; reads file names only."""
    return tuple(sorted(_ids_in_lower_case().values(), key=str.lower))


def nearest(id: str, count: int = 3) -> tuple[str, ...]:  # noqa: A002
    """The models of the catalogue whose repository, or its name without the owner, is written most like `id`.

    Names that are part of the one asked for, or that it is part of, come before those that only look like it.
    """
    asked = id.lower().strip(" /")
    spellings = {
        spelling: known for lower, known in _ids_in_lower_case().items() for spelling in (lower, lower.partition("/")[2])
    }
    within = sorted((s for s in spellings if asked and (s in asked or asked in s)), key=lambda s: (abs(len(s) - len(asked)), s))
    found = within + get_close_matches(asked, spellings, n=2 * count)
    return tuple(dict.fromkeys(spellings[spelling] for spelling in found))[:count]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it: mappings are merged key by key, null removes a key, anything else replaces it."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = value
    return result


@cache
def _ids_in_lower_case() -> Mapping[str, str]:
    names = (path.stem.replace("--", "/", 1) for path in sorted(_FOLDER.glob("*.yaml")))
    return MappingProxyType({name.lower(): name for name in names})


@cache
def _load(name: str) -> CatalogModel:
    entry = load_yaml(_FOLDER / f"{name.replace('/', '--', 1)}.yaml")
    base = model(entry["base"]).config if "base" in entry else {}
    return CatalogModel(
        id=name,
        config=MappingProxyType(merged(base, entry.get("config") or {})),
        source=entry["source"],
        parameters=entry.get("parameters"),
        note=entry.get("note"),
    )
