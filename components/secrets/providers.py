"""Where secrets live outside the cluster: what users write about it, and how it is checked."""

from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

from pydantic import Field

from ..inputs import Matching, Model


class AwsSecretService(StrEnum):
    """A service of AWS that keeps secrets, as the operator names it."""

    SECRETS_MANAGER = "SecretsManager"
    PARAMETER_STORE = "ParameterStore"


class VaultArgs(TypedDict):
    """A key-value engine of Vault."""

    server: str
    """URL, https only: the answer is the secret."""
    path: str
    """Mount of the key-value engine, version 2, e.g. `secret`."""
    role: str
    """Role of Vault's Kubernetes authentication that may read the secrets, bound to the store's service account."""
    mount: NotRequired[str]
    """Mount of the Kubernetes authentication; `kubernetes` by default."""
    namespace: NotRequired[str | None]
    """Namespace of Vault Enterprise; none by default."""
    certificate_authority: NotRequired[str | None]
    """PEM text of the authority that signed the server's certificate; those of the operator's image by default."""


class VaultConfig(Model):
    """Validated `VaultArgs`, and what a stack file says of Vault."""

    server: Annotated[
        str,
        Matching(
            pattern=r"https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?",
            what="an https URL of a host (secrets never travel in the clear)",
            example="https://vault.example.com:8200",
        ),
    ] = Field(description="URL of Vault, https only.")
    path: str = Field("secret", min_length=1, description="Mount of the key-value engine, version 2.", examples=["secret"])
    role: str = Field(
        min_length=1, description="Role of Vault's Kubernetes authentication that may read the secrets.", examples=["llm"]
    )
    mount: str = Field("kubernetes", min_length=1, description="Mount of the Kubernetes authentication.", examples=["kubernetes"])
    namespace: str | None = Field(None, min_length=1, description="Namespace of Vault Enterprise.", examples=["platform"])
    certificate_authority: (
        Annotated[
            str,
            Matching(
                pattern=r"\s*-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*",
                what="a certificate in PEM",
                example='"-----BEGIN CERTIFICATE-----…"',
            ),
        ]
        | None
    ) = Field(None, description="Authority of Vault's certificate in PEM; the public ones when left out.")


class RemoteArgs(TypedDict):
    """One value in a store."""

    remote: str
    """Name of the secret or parameter there; in Vault its path below the mount."""
    property: NotRequired[str | None]
    """Key of the value in it, where it holds several as JSON; in Vault always."""


class Remote(Model):
    """Validated `RemoteArgs`."""

    remote: Annotated[
        str,
        Matching(pattern=r"[A-Za-z0-9/_+=.@-]{1,512}", what="the name of a remote secret", example="llm/hugging-face"),
    ] = Field(description="Name of the secret or parameter; in Vault its path below the mount.")
    property: str | None = Field(
        None, min_length=1, description="Key of the value in it, where it holds several.", examples=["token"]
    )
