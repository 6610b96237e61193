"""Reading a Hugging Face `config.json`, whose keys differ from family to family and whose values may be missing or odd."""

from collections.abc import Mapping, Sequence
from typing import Any

_TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config")


class ConfigError(ValueError):
    """A configuration from which no architecture can be read; one sentence."""


class Config:
    """A configuration with the text model's keys before those of the whole, and the assumptions made while reading it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        if not isinstance(raw, Mapping):
            raise ConfigError("the configuration is not a mapping; give the config.json of a Hugging Face repository")
        text: Mapping[str, Any] = raw
        for section in _TEXT_SECTIONS:
            if isinstance(raw.get(section), Mapping):
                text = raw[section]
                text = text["text_config"] if isinstance(text.get("text_config"), Mapping) else text
                break
        self.text = text
        self.top = raw
        self.warnings: list[str] = []

    @property
    def model_type(self) -> str:
        """`model_type` of the text model, in lower case and without what people write behind it."""
        words = str(self.text.get("model_type") or self.top.get("model_type") or "unknown").lower().split()
        return words[0] if words else "unknown"

    def get(self, *keys: str) -> Any:
        """The first of `keys` that is there and not null, in the text model's section before the whole."""
        for section in (self.text, self.top):
            for key in keys:
                if section.get(key) is not None:
                    return section[key]
        return None

    def number(self, *keys: str) -> int | None:
        """The first of `keys` that holds a positive whole number."""
        for section in (self.text, self.top):
            for key in keys:
                value = section.get(key)
                if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < 2**40:
                    return int(value)
        return None

    def required(self, *keys: str) -> int:
        """Like `number`, but a configuration without it says nothing about memory."""
        value = self.number(*keys)
        if value is None:
            names = " or ".join(keys)
            raise ConfigError(f"{names} is missing or not a positive whole number; give the config.json as its repository has it")
        return value

    @property
    def hidden(self) -> int:
        """Numbers a token has between layers. Raises ConfigError where it is missing."""
        return self.required("hidden_size", "n_embd", "d_model")

    @property
    def heads(self) -> int:
        """Attention heads; heads of 128 numbers are assumed where the configuration has none."""
        known = self.number("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
        if known is None:
            known = max(self.hidden // 128, 1)
            self.assume(f"num_attention_heads is missing; {known} are assumed, of 128 numbers each")
        return known

    @property
    def layer_count(self) -> int:
        """Layers of the decoder. Raises ConfigError where they are missing."""
        return self.required("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")

    def fraction(self, key: str, default: float) -> float:
        """A number between 0 and 1 under `key`, also when it stands in `rope_parameters`."""
        rope = self.get("rope_parameters", "rope_scaling")
        value = self.get(key) or (rope.get(key) if isinstance(rope, Mapping) else None)
        return float(value) if isinstance(value, (int, float)) and 0 < value <= 1 else default

    def entry(self, key: str, index: int) -> Any:
        """The item for layer `index` of the list under `key`; None where there is no such list or item."""
        values = self.get(key)
        if isinstance(values, Sequence) and not isinstance(values, str) and index < len(values):
            return values[index]
        return None

    def flag(self, key: str, default: bool = False) -> bool:
        """A true-or-false value."""
        value = self.get(key)
        return value if isinstance(value, bool) else default

    def section(self, *keys: str) -> Mapping[str, Any]:
        """A mapping under one of `keys`; empty where there is none."""
        value = self.get(*keys)
        return value if isinstance(value, Mapping) else {}

    def assume(self, sentence: str) -> None:
        """Note an assumption once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
