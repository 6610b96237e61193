"""What must be true of a server once it is deployed. Pure: made from the inputs of the server, read by every check."""

from collections.abc import Mapping
from functools import cache

from pydantic import ValidationError

from ...inputs import Model
from ..engine_tables import engine_table

_ON_THE_WIRE = {"gauge": "", "counter": "_total", "histogram": "_count"}
"""What a kind of metric appends to its name in Prometheus' text format."""


class Expectation(Model):
    """One model as it was asked for. All plain values, nothing secret: it is exported and put into a ConfigMap."""

    namespace: str
    service: str
    """Name of the Service clients use."""
    replicas_service: str
    """Name of the headless Service whose addresses are the replicas."""
    port: int
    selector: Mapping[str, str]
    """Labels that all pods of the server have and no others."""
    served_names: tuple[str, ...]
    """Names clients ask for, the first one being the `model_name` of the metrics."""
    adapters: tuple[str, ...]
    task: str
    """`generate` or `embed`."""
    needs_key: bool
    """Whether requests without the API key are refused."""
    engine_version: str
    metrics: tuple[str, ...]
    """Names at /metrics after a request was answered, as the wire has them."""
    replicas: int
    """How many there are; at least one where an autoscaler adds the others."""
    most_replicas: int
    """The same, or the most that an autoscaler may ask for."""
    nodes_per_replica: int
    """Pods of one replica; the first one, the leader, answers for it."""
    container: str
    """Name of the engine's container."""
    image: str
    command: tuple[str, ...]
    """Command of a leader's container; empty for the image's own entry point."""
    args: tuple[str, ...]
    """Arguments of a leader's container."""
    resources: Mapping[str, Mapping[str, str]]
    """`requests` and `limits` of the container."""
    shared_memory_mib: int
    revision: str
    """Changes with everything of the pods, also with what is not named here: each change is checked anew."""

    def to_json(self) -> str:
        """The same as text."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Expectation":
        """What `to_json` wrote. Raises ValueError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "it"
            raise ValueError(
                f"this is no expectation of a model ({where}: {fault['msg']}); export it again with `pulumi up`"
            ) from None


@cache
def expected_metrics(version: str, *, lora: bool, speculative: bool) -> tuple[str, ...]:
    """Names of metrics that a server of this engine version has once it has answered a request, as the wire has them.

    Raises ValueError for a version nobody recorded.
    """
    groups = engine_table(version, "metrics")
    wanted = groups["always"] | (groups["lora"] if lora else {}) | (groups["speculative"] if speculative else {})
    return tuple(sorted(f"{name}{_ON_THE_WIRE[kind]}" for name, kind in wanted.items()))
