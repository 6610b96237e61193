"""What rules read of engines, whatever each of them calls it. Pure.

Every series of a server has the labels that its target gives it: `job`, `namespace`, `pod`, `node` and, from the label of the pod
that names its model, `model_name`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from .facts import ModelFacts
from .rules import Rule, record
from .signals import Engine, optional_signal, signal

MODEL = "namespace, model_name"
POD = f"{MODEL}, pod, node"


class Ended(Enum):
    """Requests that ended, by who ended them."""

    ALL = auto()
    KEPT = auto()
    """Those that no client gave up."""
    FAILED = auto()
    """Those that ended with an error of the server."""


@dataclass(frozen=True)
class Engines:
    """Models of one namespace whose engines are one program in one version: vLLM."""

    version: str
    models: tuple[ModelFacts, ...]
    engine = Engine.VLLM

    @property
    def generating(self) -> "Engines":
        """Those that make text."""
        return self.of(model for model in self.models if model.generates)

    def of(self, models: Iterable[ModelFacts]) -> "Engines":
        """Some of them."""
        return replace(self, models=tuple(models))

    def record(self, name: str, expr: str, labels: Mapping[str, str] | None = None) -> Rule:
        """A recording rule with the label of the team that has the namespace."""
        return record(name, expr, {**(labels or {}), "tenant": self.models[0].tenant or ""})

    def read(self, name: str, *matchers: str, suffix: str = "") -> str:
        """The selector of a signal that every version has."""
        return f"{signal(self.version, name, self.engine)}{suffix}{self._selected(*matchers)}"

    def maybe(self, name: str, *matchers: str, suffix: str = "") -> str | None:
        """The same; None where this version has no such signal."""
        found = optional_signal(self.version, name, self.engine)
        return found and f"{found}{suffix}{self._selected(*matchers)}"

    def now(self, name: str) -> str | None:
        """A gauge, for every replica that is read; None where this version has no such signal."""
        return self.maybe(name)

    def ended(self, which: Ended, change: str, window: str) -> str:
        """Their `rate` or `increase` over a window, by `finished_reason`."""
        return f"{change}({self.read('finished', *_REASONS[which])}[{window}])"

    def rejected(self, window: str) -> str | None:
        """The rate of requests that were turned away, by `reason`; None where this version does not count them."""
        counted = self.maybe("rejections")
        return counted and f"rate({counted}[{window}])"

    def progress(self, window: str) -> str:
        """By replica a rate that is 0 for one that does nothing; requests that clients gave up are no progress."""
        read = (self.read("finished", *_REASONS[Ended.KEPT]), *map(self.read, ("prompt_tokens", "generation_tokens")))
        return " + ".join(f"sum by ({POD}) (rate({each}[{window}]))" for each in read)

    def _selected(self, *matchers: str) -> str:
        place = f'job="models", namespace="{self.models[0].namespace}"'
        return f"{{{', '.join((place, named('model_name', (model.name for model in self.models)), *matchers))}}}"


class TgiEngines(Engines):
    """The same for Text Generation Inference, which begins each series with the first request that it counts."""

    engine = Engine.TGI

    def now(self, name: str) -> str | None:
        found = self.maybe(name)
        return found and f"({found} or 0 * (up{self._selected()} == 1))"

    def ended(self, which: Ended, change: str, window: str) -> str:
        reads = ((reason, self.read(name, *matchers)) for reason, name, *matchers in _TGI_REASONS[which])
        return " or ".join(_labelled(f"{change}({read}[{window}])", "finished_reason", reason) for reason, read in reads)

    def rejected(self, window: str) -> str | None:
        counted = self.read("failed", 'err="overloaded"')
        return _labelled(f"rate({counted}[{window}])", "reason", "overloaded")

    def progress(self, window: str) -> str:
        return f"sum by ({POD}) (rate({self.read('batches')}[{window}]))"


_REASONS: Mapping[Ended, Sequence[str]] = {
    Ended.ALL: (),
    Ended.KEPT: ('finished_reason!="abort"',),
    Ended.FAILED: ('finished_reason="error"',),
}
_STOP, _ERROR = ("stop", "finished"), ("error", "failed", 'err=~"generation|incomplete"')
_TGI_REASONS: Mapping[Ended, Sequence[tuple[str, ...]]] = {
    Ended.ALL: (_STOP, _ERROR, ("abort", "failed", 'err="dropped"')),
    Ended.KEPT: (_STOP, _ERROR),
    Ended.FAILED: (_ERROR,),
}
"""What vLLM's label `finished_reason` would say, the signal that counts it, and which of its labels."""
_KINDS: Mapping[Engine, type[Engines]] = {Engine.VLLM: Engines, Engine.TGI: TgiEngines}


def alike(models: Sequence[ModelFacts]) -> list[Engines]:
    """The models, by program, version and namespace."""
    kinds = sorted({(model.engine, model.engine_version, model.namespace) for model in models})
    return [
        _KINDS[engine](
            version,
            tuple(each for each in models if (each.engine, each.engine_version, each.namespace) == (engine, version, namespace)),
        )
        for engine, version, namespace in kinds
    ]


def named(label: str, values: Iterable[str]) -> str:
    """A matcher for values of a label."""
    found = sorted(set(values))
    if len(found) == 1:
        return f'{label}="{found[0]}"'
    return f'{label}=~"{"|".join(map(escaped, found))}"'


def escaped(name: str) -> str:
    """A name inside a regular expression of PromQL: of what names may have, only the dot means something there."""
    return name.replace(".", r"\\.")


def _labelled(expr: str, label: str, value: str) -> str:
    return f'label_replace({expr}, "{label}", "{value}", "", "")'
