"""What all dashboards choose models by, and name them by."""

from .board import Choice, Uid

TENANT = Choice("tenant", "tenant", "Tenant", "llm:planned_replicas_min")
NAMESPACE = Choice("namespace", "namespace", "Namespace", 'llm:planned_replicas_min{tenant=~"$tenant"}')
MODEL = Choice("model", "model_name", "Model", 'llm:planned_replicas_min{tenant=~"$tenant",namespace=~"$namespace"}')
CHOSEN = '{tenant=~"$tenant",namespace=~"$namespace",model_name=~"$model"}'
"""What the three choices above leave of the series of models."""
EACH = "namespace, model_name, tenant"
NAMED = {"model_name": "Model", "namespace": "Namespace", "tenant": "Tenant"}
TO_MODEL = {
    "Model": ("Its dashboard", Uid.MODEL.link(namespace="${__data.fields.Namespace}", model="${__data.fields.Model}")),
}
SERIES = "{{namespace}}/{{model_name}}"
"""Legend of a series of a model."""


def limit(slo: str, chosen: str = CHOSEN) -> str:
    """Seconds that a service level allows."""
    return f"max by ({EACH}) (llm:slo_threshold_seconds{with_labels(chosen, slo=slo)})"


def burn(slo: str, window: str, chosen: str = CHOSEN) -> str:
    """How many times faster than allowed an error budget goes: 1 uses it up exactly at the end of its period."""
    objective = f"max by ({EACH}) (llm:slo_objective{with_labels(chosen, slo=slo)})"
    return f"max by ({EACH}) (llm:slo_{slo}:error_ratio{window}{chosen}) / on ({EACH}) (1 - {objective})"


def by_version(of_model: str) -> str:
    """What there is one of for each model, for each version of each route."""
    return f"llm:version:info * on (namespace, model_name) group_left () ({of_model})"


def with_labels(selector: str, **labels: str) -> str:
    """A selector that also asks for these values of labels."""
    return selector.replace("}", "".join(f',{name}="{value}"' for name, value in labels.items()) + "}")
