"""Groups of inputs of `LlmApp`."""

from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

import pulumi
from pydantic import AfterValidator, Field, model_validator

from ..inputs import InputText, Matching, Model
from ..types import SecretKey, SecretKeyArgs
from .checks import check_path


class KeyAs(StrEnum):
    """How a program gets the value of a Secret."""

    FILE = "file"
    """As a file, whose path stands in the variable `<NAME>_FILE`."""
    VARIABLE = "variable"
    """As the variable `<NAME>` itself, which every child process and crash report gets too."""


class AppSecretArgs(SecretKeyArgs):
    """A value of a Secret, and how the app gets it."""

    key_as: NotRequired[KeyAs]
    """`file` (the default) or `variable`."""


class ModelApiArgs(TypedDict):
    """An API like OpenAI's that the app calls. What it is told of that stands in variables that begin with `prefix`."""

    prefix: NotRequired[str]
    """`OPENAI` by default, whose `_API_KEY` and `_BASE_URL` OpenAI's own clients read."""
    base_url: NotRequired[pulumi.Input[str] | None]
    """`<prefix>_BASE_URL`, e.g. what `model_url` says of a model of this platform; the client's own default when left out."""
    model: NotRequired[str | None]
    """`<prefix>_MODEL`: the name to ask for."""
    key_secret: NotRequired[AppSecretArgs | None]
    """`<prefix>_API_KEY`; none for an API that asks for none."""


class AppProbesArgs(TypedDict):
    """Paths that answer with 200 to 399; where one is left out, it is asked whether the port takes connections."""

    startup: NotRequired[str | None]
    """Once it has started."""
    readiness: NotRequired[str | None]
    """While it takes requests. It should not ask the model: of a model that is away all replicas would go."""
    liveness: NotRequired[str | None]
    """While it need not be restarted."""


class AppScalingArgs(TypedDict):
    """More and fewer replicas by the CPU they use."""

    max_replicas: int
    """Replicas there are at most."""
    min_replicas: NotRequired[int]
    """Replicas there are always; 3 by default."""
    cpu: NotRequired[float]
    """Share of the CPU it asks for that each replica should use; 0.5 by default."""


ProbePath = Annotated[str, AfterValidator(check_path), Field(examples=["/health"])]
Prefix = Annotated[
    str, Matching(pattern=r"[A-Z]([A-Z0-9_]{0,38}[A-Z0-9])?", what="how names of variables begin, in capitals", example="OPENAI")
]
SecretVariable = Annotated[
    str,
    Matching(pattern=r"[A-Z]([A-Z0-9_]{0,48}[A-Z0-9])?", what="the name of a variable in capitals", example="DATABASE_PASSWORD"),
]


class AppSecret(SecretKey):
    """Validated `AppSecretArgs`."""

    key_as: KeyAs = KeyAs.FILE


class ModelApi(Model):
    """Validated `ModelApiArgs`."""

    prefix: Prefix = "OPENAI"
    base_url: InputText | None = None
    model: str | None = Field(None, min_length=1)
    key_secret: AppSecret | None = None

    def variables(self) -> dict[str, pulumi.Input[str]]:
        """What may be read by everybody."""
        told = {"BASE_URL": self.base_url, "MODEL": self.model}
        return {f"{self.prefix}_{name}": value for name, value in told.items() if value is not None}


class AppProbes(Model):
    """Paths that answer with 200 to 399; the port is asked whether it takes connections where one is left out."""

    startup: ProbePath | None = Field(None, description="Once it has started.")
    readiness: ProbePath | None = Field(
        None, description="While it takes requests; it should not ask the model, or all replicas go with that."
    )
    liveness: ProbePath | None = Field(None, description="While it need not be restarted.")


class AppScaling(Model):
    """More and fewer replicas by the CPU they use; `replicas` is left out then."""

    max_replicas: int = Field(ge=1, le=1000, description="Replicas there are at most.", examples=[10])
    min_replicas: int = Field(3, ge=1, le=1000, description="Replicas there are always.", examples=[3])
    cpu: float = Field(0.5, gt=0, lt=10, description="Share of the CPU it asks for that each replica should use.", examples=[0.5])

    @model_validator(mode="after")
    def _can_scale(self) -> "AppScaling":
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"maxReplicas: {self.max_replicas} are fewer than minReplicas: {self.min_replicas}; "
                f"use maxReplicas: {self.min_replicas} or more"
            )
        return self
