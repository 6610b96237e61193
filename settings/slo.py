"""What a model owes those who ask it, as a stack file has it."""

from pydantic import Field, model_validator

from components.inputs import Model
from components.monitoring.facts import Slo
from components.monitoring.signals import edges

PROFILES = {
    "balanced": Slo(time_to_first_token_s=2.5, inter_token_latency_s=0.2),
    "latency": Slo(time_to_first_token_s=0.5, inter_token_latency_s=0.05),
    "throughput": Slo(time_to_first_token_s=10.0, inter_token_latency_s=0.5),
    "long-context": Slo(time_to_first_token_s=7.5, inter_token_latency_s=0.2),
}
"""What is owed by tuning profile where the stack file does not say.

They are our choice, for models of a middle size. Those but for throughput start from what MLPerf Inference asks of 99 % of the
requests, up to the next edge of the engine's buckets: Llama 2 70B as a server (2 s, 200 ms;
mlcommons.org/2024/03/mlperf-llama2-70b), the same model interactive (450 ms, 40 ms) and, for long contexts, Llama 3.1 405B
(6 s, 175 ms; both mlcommons.org/2025/04/llm-inference-v5). A small model does better, and its stack file should say so.
"""


class SloSettings(Model):
    """Objectives of one model; those of its tuning profile where left out."""

    time_to_first_token_seconds: float | None = Field(
        None,
        description="Seconds until the first token, for `objective` of the requests: an edge of the engine's buckets.",
        examples=[1],
    )
    inter_token_latency_seconds: float | None = Field(
        None, description="Seconds between two tokens, for `objective` of them: an edge of the engine's buckets.", examples=[0.1]
    )
    objective: float = Field(0.99, ge=0.5, le=0.9999, description="Share of requests, and of tokens, that keep to these seconds.")
    availability: float = Field(
        0.999, ge=0.5, le=0.9999, description="Share of requests that the engine ends without an error of its own."
    )

    @model_validator(mode="after")
    def _edges(self) -> "SloSettings":
        _check_edge("timeToFirstTokenSeconds", self.time_to_first_token_seconds, edges("first_token"))
        _check_edge("interTokenLatencySeconds", self.inter_token_latency_seconds, edges("inter_token"))
        return self

    def slo(self, profile: str) -> Slo:
        """The objectives of a model with this tuning profile."""
        usual = PROFILES[profile]
        return Slo(
            time_to_first_token_s=self.time_to_first_token_seconds or usual.time_to_first_token_s,
            inter_token_latency_s=self.inter_token_latency_seconds or usual.inter_token_latency_s,
            objective=self.objective,
            availability=self.availability,
        )


def _check_edge(key: str, seconds: float | None, known: tuple[float, ...]) -> None:
    """The engine counts requests by these edges alone: what lies between two of them it cannot tell."""
    if seconds is not None and seconds not in known:
        near = min(known, key=lambda edge: abs(edge - seconds))
        listed = ", ".join(f"{edge:g}" for edge in known)
        raise ValueError(f"{key}: {seconds:g} is no edge of the engine's buckets ({listed}); use e.g. {near:g}")
