"""Whether the secrets of a stack can be made, and whether somebody reads each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from components.secrets.aws_policies import check_remote
from components.secrets.kinds import SecretType, check_keys
from settings.models import ModelSettings
from settings.secrets import VALUES, ItemSettings, KeySettings, SecretsSettings, StoreKind


@dataclass(frozen=True)
class Use:
    """One place in the settings that wants one value of an item."""

    where: str
    """The setting, e.g. `models.llama.tokenSecret`."""
    namespace: str
    item: str
    key: str


def uses(models: Mapping[str, ModelSettings], namespaces: Mapping[str, str], items: Collection[str]) -> list[Use]:
    """What models want of the items; `namespaces` has that of each model. Other Secrets they name are there already."""
    found: list[Use] = []
    for name, model in models.items():
        for setting, wanted in (("tokenSecret", model.token_secret), ("apiKeySecret", model.api_key_secret)):
            if wanted is not None and wanted.name in items:
                found.append(Use(f"models.{name}.{setting}", namespaces[name], wanted.name, wanted.key))
    return found


def check_secrets(
    secrets: SecretsSettings,
    values: Mapping[str, Collection[str]],
    wanted: Sequence[Use],
    *,
    on_eks: bool,
    known: Collection[str],
    pulling: Collection[str],
) -> None:
    """Raise ValueError, a sentence that begins with its setting, for a secret that cannot be made or that nobody reads.

    `values` are the names of the encrypted values there are, `known` the namespaces of the stack, `pulling` those of them whose
    pods pull images.
    """
    check_items(secrets)
    if secrets.aws_service and not on_eks:
        raise ValueError(
            f"secrets.store.kind: {secrets.store.kind} needs the identity of a cluster of kind eks; "
            "use e.g. vault or sealedSecrets"
        )
    for use in wanted:
        item = secrets.items[use.item]
        if item.type is not SecretType.OPAQUE or use.key not in item.keys:
            has = ", ".join(sorted(item.keys)) if item.type is SecretType.OPAQUE else f"none, it is of type {item.type}"
            raise ValueError(f"{use.where}.key: {use.key} is not a key of secrets.items.{use.item}; its keys: {has}")
    _check_values(secrets, values)
    needed = secrets.needed([(use.namespace, use.item) for use in wanted], pulling)
    for name, item in secrets.items.items():
        for namespace in item.namespaces:
            if namespace not in known:
                raise ValueError(
                    f"secrets.items.{name}.namespaces: {namespace!r} is not a namespace of this stack; "
                    f"use {', '.join(sorted(known))}"
                )
        there = [namespace for namespace, items in needed.items() if name in items]
        if not there:
            raise ValueError(
                f"secrets.items.{name} is used by nothing; remove it, name it in tokenSecret or apiKeySecret of a model, "
                "in an app, or give it namespaces"
            )
        _check_sealed(secrets, name, item, there)


def check_items(secrets: SecretsSettings) -> None:
    """Raise ValueError for an item that the store cannot have, a login that is none, or an operator that would make nothing."""
    if secrets.operator is not None and secrets.store.kind is StoreKind.CONFIG:
        raise ValueError("secrets.operator: no operator makes Secrets of a store of kind config; remove it, or use another store")
    _check_names(secrets)
    for name, item in secrets.items.items():
        where = f"secrets.items.{name}"
        _check_login(where, item, secrets.store.kind)
        for key, of in item.keys.items():
            _check_key(f"{where}.keys.{key}", key, of, secrets)
        try:
            check_keys(item.type, item.key_names if secrets.store.kind is StoreKind.CONFIG else item.keys)
        except ValueError as error:
            raise ValueError(f"{where}.keys: {error}") from None
    if secrets.image_pull is not None:
        pulled = secrets.items.get(secrets.image_pull)
        if pulled is None or pulled.type is not SecretType.REGISTRY:
            raise ValueError(
                f"secrets.imagePull: {secrets.image_pull!r} is no item of type registry; add it to secrets.items, or remove this"
            )


def _check_names(secrets: SecretsSettings) -> None:
    # Secrets of kind config are named by Pulumi, which keeps them apart.
    owners: dict[str, str] = {}
    for name, item in secrets.items.items() if secrets.store.kind is not StoreKind.CONFIG else ():
        if other := owners.get(item.secret_name(name)):
            raise ValueError(
                f"secrets.items.{name}: its Secret is called {item.secret_name(name)}, and so is that of secrets.items.{other}; "
                "use another name for one of them"
            )
        owners[item.secret_name(name)] = name


def _check_login(where: str, item: ItemSettings, kind: StoreKind) -> None:
    login = kind is StoreKind.CONFIG and item.type is SecretType.REGISTRY
    for key, value, example in (("server", item.server, "registry.example.com"), ("username", item.username, "robot")):
        if login and value is None:
            raise ValueError(f"{where}.{key} is missing; a login to a registry needs it, e.g. {key}: {example}")
        if value is not None and not login:
            raise ValueError(
                f"{where}.{key} has no meaning here; remove it, for only items of type registry in kind config have it"
            )
    if login and item.keys:
        raise ValueError(f"{where}.keys: the password stands under {VALUES} and is the only value; remove keys")
    if kind is StoreKind.CONFIG and item.rotation != 1:
        raise ValueError(f"{where}.rotation: another value rotates a secret of kind config by itself; remove it")
    if kind in (StoreKind.CONFIG, StoreKind.SEALED_SECRETS) and "refresh_interval" in item.model_fields_set:
        raise ValueError(f"{where}.refreshInterval: nothing is read again in a store of kind {kind}; remove it")


def _check_key(where: str, key: str, of: KeySettings, secrets: SecretsSettings) -> None:
    kind = secrets.store.kind
    needed = {StoreKind.CONFIG: "", StoreKind.SEALED_SECRETS: "sealed"}.get(kind, "remote")
    allowed = {"remote", "property"} if needed == "remote" else {needed}
    for field in ("remote", "property", "sealed"):
        if getattr(of, field) is not None and field not in allowed:
            raise ValueError(f"{where}.{field} has no meaning in a store of kind {kind}; remove it")
    if needed and getattr(of, needed) is None:
        example = "{remote: llm/hugging-face}" if needed == "remote" else "{sealed: {models: AgB…}}"
        raise ValueError(f"{where}.{needed} is missing; a store of kind {kind} needs it, e.g. {key}: {example}")
    if kind is StoreKind.VAULT and of.property is None:
        raise ValueError(f"{where}.property is missing; a secret of Vault holds several values, name one, e.g. property: token")
    if secrets.aws_service and of.remote:
        try:
            check_remote(secrets.aws_service, of.remote)
        except ValueError as error:
            raise ValueError(f"{where}.remote: {error}") from None


def _check_values(secrets: SecretsSettings, values: Mapping[str, Collection[str]]) -> None:
    wanted: dict[str, Collection[str]] = {}
    if secrets.store.kind is StoreKind.CONFIG:
        wanted = {name: item.value_names for name, item in secrets.items.items()}
    for name, keys in wanted.items():
        for key in sorted(keys):
            if key not in values.get(name, ()):
                raise ValueError(f"secrets.items.{name}: its value {key} is missing; set it with `{set_command(name, key)}`")
    for name, given in values.items():
        for key in sorted(given):
            if key not in wanted.get(name, ()):
                raise ValueError(
                    f"{VALUES}.{name}: {key} is a value that no item of kind config has; remove it with "
                    f"`pulumi config rm --path '{_path(name, key)}'`"
                )


def _check_sealed(secrets: SecretsSettings, name: str, item: ItemSettings, there: Sequence[str]) -> None:
    if secrets.store.kind is not StoreKind.SEALED_SECRETS:
        return
    for key, of in item.keys.items():
        sealed = of.sealed or {}
        for namespace in there:
            if namespace not in sealed:
                raise ValueError(
                    f"secrets.items.{name}.keys.{key}.sealed: there is nothing for the namespace {namespace}; "
                    f"seal the value with `kubeseal --raw --name {item.secret_name(name)} --namespace {namespace}`"
                )
        if unused := sorted(sealed.keys() - set(there)):
            raise ValueError(f"secrets.items.{name}.keys.{key}.sealed: nothing reads it in the namespace {unused[0]}; remove it")


def set_command(item: str, key: str) -> str:
    """What puts a value into the stack file, asked for or from standard input, never an argument."""
    return f"pulumi config set --secret --path '{_path(item, key)}'"


def _path(item: str, key: str) -> str:
    last = f".{key}" if key.replace("-", "").replace("_", "").isalnum() else f'["{key}"]'
    return f"llm-platform:{VALUES}.{item}{last}"
