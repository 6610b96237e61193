"""Patterns over module names, as `quantization_config` lists them: literal, with `*`, or `re:` and a regular expression.

Such a list may name every module of every layer (hundreds of patterns), so patterns that name a layer are kept under it and a
match is remembered for all layers whose patterns read alike.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_LAYER = re.compile(r"\blayers\.(\d+)(?=\D|$)")
_FAMILIES = (("mlp", "block_sparse_moe", "ffn", "feed_forward", "mixer"), ("self_attn", "attn", "linear_attn", "mixer"))
_PREFIXES = ("model.layers", "model.language_model.layers", "language_model.model.layers", "backbone.layers", "layers")


class ModulePatterns:
    """A set of patterns, asked whether a module of a layer is among them."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._everywhere: list[str] = []
        self._by_layer: dict[int, list[str]] = {}
        self._known: dict[tuple[str, tuple[str, ...]], bool] = {}
        for pattern in patterns:
            found = None if pattern.startswith("re:") else _LAYER.search(pattern)
            if found is None:
                self._everywhere.append(pattern)
            else:
                self._by_layer.setdefault(int(found[1]), []).append(f"{pattern[: found.start(1)]}0{pattern[found.end(1) :]}")

    def match(self, module: str, layer: int) -> bool:
        """Whether a pattern names the module called `module` inside layer `layer`, in any family's spelling."""
        patterns = (*self._everywhere, *self._by_layer.get(layer, ()))
        if not patterns:
            return False
        key = (module, patterns)
        if key not in self._known:
            names = _spellings(module)
            self._known[key] = any(_match(pattern, name) for pattern in patterns for name in names)
        return self._known[key]


def _spellings(module: str) -> list[str]:
    """Full names a module may have: families call the same part differently and nest it differently. All in layer 0."""
    names = {module}
    for family in _FAMILIES:
        known, *others = family
        if module.startswith(known + "."):
            names |= {other + module[len(known) :] for other in others}
    names |= {name.replace("shared_experts", "shared_expert") for name in names}
    return [f"{prefix}.0.{name}" for prefix in _PREFIXES for name in sorted(names)]


def _match(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], name) is not None
        except re.error:
            return False
    if "*" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
    return f".{pattern}." in f".{name}."
