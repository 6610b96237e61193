"""What an app cannot have, a sentence each, for its component and for stack files alike. Pure."""

from collections.abc import Collection, Mapping, Sequence

from ..quantities import quantity
from ..secretive import looks_secret, names_secret
from ..serving.engine_images import check_image
from ..types import NodePool


def check_app_image(image: str) -> str:
    """`image`, or ValueError unless it always means the same program."""
    try:
        check_image(image)
    except ValueError:
        raise ValueError(
            f"{image!r} has neither the tag of a release nor a digest, so a pod that restarts may run another program; "
            "use e.g. registry.example.com/llm-app:v1"
        ) from None
    return image


def check_path(path: str) -> str:
    """`path`, or ValueError unless a probe can ask for it."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no path; use e.g. /health")
    return path


def check_cpu(text: str) -> str:
    """`text`, or ValueError unless it is an amount of CPU that a node can have."""
    try:
        fits = 0 < quantity(text) <= 256
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{text!r} is no amount of CPU up to 256; use e.g. 250m or 2")
    return text


def check_replicas(replicas: int | None, scaling: object | None) -> None:
    """Raise ValueError where two would say how many replicas there are."""
    if replicas is not None and scaling is not None:
        raise ValueError("replicas: scaling says how many replicas there are, and two owners would fight; remove replicas")


def check_deadline(startup: int, deadline: int) -> None:
    """Raise ValueError where a rollout would be given up before a replica had to answer. Both in seconds."""
    if deadline <= startup:
        raise ValueError(
            f"deadlineSeconds: {deadline} are over before the {startup} of startupSeconds; use {startup + 300} or more"
        )


def check_prefixes(prefixes: Mapping[str, str]) -> None:
    """Raise ValueError where two APIs would have the same variables. `prefixes` by the setting they belong to."""
    owners: dict[str, str] = {}
    for setting, prefix in prefixes.items():
        if (other := owners.setdefault(prefix, setting)) != setting:
            raise ValueError(
                f"{setting}.prefix: {other} has the variables that begin with {prefix} already; use another one, e.g. OTHER"
            )


def check_variables(environment: Mapping[str, str], secrets: Collection[str], prefixes: Sequence[str]) -> None:
    """Raise ValueError for a variable with two values, and for a secret among those that everybody may read."""
    apis = {f"{prefix}_{name}" for prefix in prefixes for name in ("API_KEY", "API_KEY_FILE", "BASE_URL", "MODEL")}
    owners = {"PORT": "port", **dict.fromkeys(apis, "the API it calls")}
    for name in secrets:
        for variable in (name, f"{name}_FILE"):
            if owner := owners.get(variable):
                raise ValueError(f"secrets.{name}: {variable} follows from {owner} already; remove it")
            owners[variable] = f"secrets.{name}"
    for name, value in environment.items():
        if owner := owners.get(name):
            raise ValueError(f"environment.{name}: it follows from {owner} already; remove it")
        if names_secret(name) or looks_secret(value):
            raise ValueError(
                f"environment.{name}: it looks like a secret, and whoever may read pods would read it; keep it in a Secret and "
                f"name that in secrets, e.g. secrets: {{{name}: {{name: my-secret, key: value}}}}"
            )


def check_balanced(*, internal: bool, certificate_arn: str | None) -> None:
    """Raise ValueError where keys and prompts would cross the internet in clear text."""
    if not internal and certificate_arn is None:
        raise ValueError("internal: false lets the internet in, in clear text; give certificateArn, or leave internal out")


def check_pool(pool: NodePool) -> None:
    """Raise ValueError for nodes whose price is in what an app has no use for."""
    if pool.accelerator is not None:
        raise ValueError(f"{pool.name} has accelerators, which an app does not use; name a pool without, or none")
