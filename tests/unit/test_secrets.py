"""Secrets: what settings refuse, what the components make of values, who may read what, and what a rehearsal makes up."""

import asyncio
import base64
import copy
import datetime
import fnmatch
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import config as pulumi_config
from pulumi.runtime import rpc

import settings
from components.cloud import Cloud
from components.inputs import InputError
from components.secrets import AwsSecretService, ConfigSecret, SecretStore, SecretType
from components.secrets.aws_policies import check_remote, reader_statements
from components.secrets.external_secrets_operator import external_secrets_values
from components.secrets.kinds import DOCKER_CONFIG, docker_config
from components.secrets.sealed_secrets_controller import sealed_secrets_values
from components.security.policies import document
from components.versions import EXTERNAL_SECRETS, SEALED_SECRETS
from sandbox.aws.eks.secret_values import allows
from sandbox.charts import definitions
from sandbox.providers.kubernetes.helm import charts
from sandbox.providers.kubernetes.helm.values import problems
from sandbox.secrets import prepare
from sandbox.secrets.account import contents
from sandbox.secrets.made_up import Inventor
from sandbox.secrets.sealing import NotOpenedError, label, load_key, new_key, seal, unseal
from tests.contracts.examples import SEALED
from tests.recorder import record

WHERE = "stacks/Pulumi.local.yaml"
CANARY = "hf_canary-0123456789"
FILE = "values of the stack file"
Stack = dict[str, Any]


@pytest.fixture
def stack(root: Path) -> Stack:
    """The local stack with a token, a key, a login and a certificate of kind config."""
    content: Stack = yaml.safe_load((root / WHERE).read_text())["config"]
    content["llm-platform:models"]["qwen2-5-7b"] |= {
        "tokenSecret": {"name": "hugging-face"},
        "apiKeySecret": {"name": "clients", "key": "key"},
    }
    content["llm-platform:secrets"] = {
        "items": {
            "hugging-face": {"keys": {"token": {}}},
            "clients": {"keys": {"key": {}}},
            "registry": {"type": "registry", "server": "registry.example.com", "username": "robot"},
            "gateway": {"type": "tls", "namespaces": ["models"]},
        },
        "imagePull": "registry",
    }
    content["llm-platform:secretValues"] = {
        item: {key: {"secure": f"v1:{item}:{key}"} for key in keys}
        for item, keys in {
            "hugging-face": ["token"],
            "clients": ["key"],
            "registry": ["password"],
            "gateway": ["tls.crt", "tls.key"],
        }.items()
    }
    return content


def _changed(stack: Stack, changes: Mapping[str, object]) -> Stack:
    """A copy with the value at each path (`/` between its steps) another one, or removed when it is `...`."""
    changed = copy.deepcopy(stack)
    for path, value in changes.items():
        *parents, last = path.split("/")
        here = changed
        for step in parents:
            here = here[f"llm-platform:{step}" if here is changed else step]
        last = f"llm-platform:{last}" if here is changed else last
        if value is ...:
            del here[last]
        else:
            here[last] = value
    return changed


VAULT = {"kind": "vault", "server": "https://vault.example.com:8200", "role": "llm"}
TOKEN = "secrets/items/hugging-face"
FROM_VAULT = {"token": {"remote": "llm/hf", "property": "token"}}
FAULTS: list[tuple[dict[str, object], str]] = [
    (
        {"secretValues/hugging-face": {}},
        "secrets.items.hugging-face: its value token is missing; set it with "
        "`pulumi config set --secret --path 'llm-platform:secretValues.hugging-face.token'`",
    ),
    (
        {"secretValues/gateway": {"tls.crt": {"secure": "v1:a"}}},
        "secrets.items.gateway: its value tls.key is missing; set it with "
        "`pulumi config set --secret --path 'llm-platform:secretValues.gateway[\"tls.key\"]'`",
    ),
    (
        {"secretValues/huging-face": {"token": {"secure": "v1:a"}}},
        "secretValues.huging-face: token is a value that no item of kind config has; remove it with "
        "`pulumi config rm --path 'llm-platform:secretValues.huging-face.token'`",
    ),
    (
        {"models/qwen2-5-7b/tokenSecret": {"name": "hugging-face", "key": "tokken"}},
        "models.qwen2-5-7b.tokenSecret.key: tokken is not a key of secrets.items.hugging-face; its keys: token",
    ),
    (
        {"models/qwen2-5-7b/apiKeySecret": {"name": "registry"}, f"{TOKEN}/namespaces": ["models"]},
        "models.qwen2-5-7b.apiKeySecret.key: token is not a key of secrets.items.registry; its keys: none, "
        "it is of type registry",
    ),
    (
        {"models/qwen2-5-7b/apiKeySecret": ...},
        "secrets.items.clients is used by nothing; remove it, name it in tokenSecret or apiKeySecret of a model, "
        "in an app, or give it namespaces",
    ),
    (
        {"secrets/items/gateway/namespaces": ["modles"]},
        "secrets.items.gateway.namespaces: 'modles' is not a namespace of this stack; use models, monitoring, node-agents",
    ),
    (
        {"secrets/imagePull": "hugging-face"},
        "secrets.imagePull: 'hugging-face' is no item of type registry; add it to secrets.items, or remove this",
    ),
    (
        {"secrets/items/registry/username": ...},
        "secrets.items.registry.username is missing; a login to a registry needs it, e.g. username: robot",
    ),
    (
        {f"{TOKEN}/rotation": 2},
        "secrets.items.hugging-face.rotation: another value rotates a secret of kind config by itself; remove it",
    ),
    (
        {f"{TOKEN}/keys/token/remote": "llm/hf"},
        "secrets.items.hugging-face.keys.token.remote has no meaning in a store of kind config; remove it",
    ),
    (
        {"secrets/store": {"kind": "awsSecretsManager"}, "secrets/imagePull": ..., "secretValues": {}}
        | {"secrets/items": {"hugging-face": {"keys": {"token": {"remote": "llm/hf"}}}}},
        "secrets.store.kind: awsSecretsManager needs the identity of a cluster of kind eks; use e.g. vault or sealedSecrets",
    ),
    (
        {"secrets/store": {"kind": "awsSecretsManager"}, "secrets/imagePull": ...}
        | {"secrets/items": {"hugging-face": {"keys": {"token": {"remote": "llm/*"}}}}},
        "secrets.items.hugging-face.keys.token.remote: 'llm/*' is no name of SecretsManager",
    ),
    (
        {"secrets/store": VAULT | {"server": "http://vault.example.com"}},
        "secrets.store.server: 'http://vault.example.com' is not an https URL of a host (secrets never travel in the clear); "
        "use e.g. https://vault.example.com:8200",
    ),
    (
        {"secrets/store": VAULT, "secrets/imagePull": ..., "secrets/items": {"a": {"keys": {"token": {"remote": "llm/hf"}}}}},
        "secrets.items.a.keys.token.property is missing; a secret of Vault holds several values, name one, e.g. property: token",
    ),
    (
        {"secrets/store": {"kind": "sealedSecrets"}, "secrets/imagePull": ...}
        | {"secrets/items": {"hugging-face": {"keys": {"token": {"sealed": {"models": "hf_plain"}}}}}},
        "secrets.items.hugging-face.keys.token.sealed.models: the text was not sealed (it is not the base64 of kubeseal); "
        "use what `kubeseal --raw` prints, it begins with Ag",
    ),
    (
        {"secrets/store": {"kind": "sealedSecrets"}, "secrets/imagePull": ..., "secretValues": {}}
        | {"secrets/items": {"hugging-face": {"rotation": 2, "keys": {"token": {"sealed": {"other": SEALED}}}}}},
        "secrets.items.hugging-face.keys.token.sealed: there is nothing for the namespace models; seal the value with "
        "`kubeseal --raw --name hugging-face-v2 --namespace models`",
    ),
    (
        {"secrets/operator": {"namespace": "external-secrets"}},
        "secrets.operator: no operator makes Secrets of a store of kind config; remove it, or use another store",
    ),
    (
        {"secrets/store": VAULT, "secrets/imagePull": ...}
        | {"secrets/items": {"a": {"rotation": 2, "keys": FROM_VAULT}, "a-v2": {"keys": FROM_VAULT}}},
        "secrets.items.a-v2: its Secret is called a-v2, and so is that of secrets.items.a; use another name for one of them",
    ),
    (
        {"secretValues/hugging-face/token": {"secure": "v1:a", "plain": CANARY}},
        "secretValues.hugging-face.token is not encrypted text by item and key; take it out and set each value with "
        "`pulumi config set --secret --path 'llm-platform:secretValues.hugging-face.token'`",
    ),
    (
        {"secretValues/hugging-face": {CANARY: {"secure": "v1:a"}}, "secrets/items/hugging-face/keys": {"token": {}}},
        "secrets.items.hugging-face: its value token is missing",
    ),
    (
        {"secretValues/hugging-face/token": CANARY},
        "secretValues.hugging-face.token is not encrypted text by item and key; take it out and set each value with "
        "`pulumi config set --secret --path 'llm-platform:secretValues.hugging-face.token'`",
    ),
]


def test_the_example_is_accepted(stack: Stack) -> None:
    loaded = settings.from_config(stack, WHERE)
    pairs = [(use.namespace, use.item) for use in loaded.secret_uses()]
    assert loaded.secrets.needed(pairs, loaded.pulling) == {
        "models": ["clients", "gateway", "hugging-face", "registry"],
        "monitoring": ["registry"],
        "node-agents": ["registry"],
    }


@pytest.mark.parametrize(("changes", "sentence"), FAULTS, ids=[sentence[:60] for _, sentence in FAULTS])
def test_every_fault_is_one_sentence_without_a_value(stack: Stack, changes: dict[str, object], sentence: str) -> None:
    if "secrets/store" in changes and "secretValues" not in changes:
        changes = changes | {"secretValues": {}}
    with pytest.raises(InputError) as raised:
        settings.from_config(_changed(stack, changes), WHERE)
    first = str(raised.value).splitlines()[0]
    assert first.removeprefix(f"{WHERE}: ").startswith(sentence), first
    assert CANARY not in str(raised.value)


@given(value=st.recursive(st.just(CANARY), lambda inner: st.dictionaries(st.sampled_from(["a", "b", "tls.key"]), inner)))
def test_no_form_of_the_section_makes_a_message_quote_a_value(value: object) -> None:
    root = Path(__file__).parents[2]
    config = yaml.safe_load((root / WHERE).read_text())["config"] | {"llm-platform:secretValues": value}
    said = ""
    try:
        settings.from_config(config, WHERE)
    except InputError as error:
        said = str(error)
    assert CANARY not in said


def test_a_program_gets_values_as_secrets_and_its_settings_only_names(stack: Stack) -> None:
    decrypted = {
        item: {key: f"{CANARY}-{item}-{key}" for key in keys} for item, keys in stack["llm-platform:secretValues"].items()
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()}
    texts["llm-platform:secretValues"] = json.dumps(decrypted)
    found: list[str] = []
    secret: list[Any] = []

    def run() -> None:
        pulumi_config.set_all_config(texts, ["llm-platform:secretValues"])
        loaded = settings.load()
        assert CANARY not in repr(loaded)
        assert loaded.secret_values["hugging-face"] == {"token"}
        token = settings.secret_values()["hugging-face"]["token"]
        secret.append(asyncio.ensure_future(token.is_secret()))
        token.apply(found.append)
        pulumi_config.set_all_config(texts, [])
        with pytest.raises(InputError, match="secretValues is not encrypted") as raised:
            settings.load()
        assert CANARY not in str(raised.value)

    record(run, stack="local")
    assert found == [decrypted["hugging-face"]["token"]]
    assert [future.result() for future in secret] == [True]


@pytest.mark.parametrize("mixed", [CANARY, {"secure": "v1:a", "plain": CANARY}], ids=["plain", "both"])
def test_a_plain_value_beside_an_encrypted_one_is_refused_by_the_program_too(
    mixed: object, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()}
    texts["llm-platform:secretValues"] = json.dumps({"hugging-face": {"token": "decrypted"}, "clients": {"key": CANARY}})
    changed = _changed(stack, {"secretValues/clients/key": mixed})
    (tmp_path / "stacks").mkdir()
    (tmp_path / WHERE).write_text(yaml.safe_dump({"config": changed}))
    monkeypatch.chdir(tmp_path)

    def run() -> None:
        pulumi_config.set_all_config(texts, ["llm-platform:secretValues"])
        for read in (settings.load, settings.secret_values):
            with pytest.raises(InputError, match=r"secretValues\.clients\.key is not encrypted text") as raised:
                read()
            assert CANARY not in str(raised.value)

    record(run, stack="local")


@pytest.mark.parametrize(
    ("of", "values"),
    [
        (SecretType.OPAQUE, {"token": CANARY}),
        (SecretType.REGISTRY, {DOCKER_CONFIG: docker_config("registry.example.com", "robot", CANARY)}),
        (SecretType.TLS, {key: Inventor(b"a").value(SecretType.TLS, key, "a") for key in ("tls.crt", "tls.key")}),
    ],
)
def test_a_secret_of_the_configuration_is_secret_immutable_and_of_its_type(of: SecretType, values: dict[str, str]) -> None:
    def make() -> None:
        ConfigSecret("a", {"namespace_name": "models", "type": of, "values": dict(values)})

    recording = record(make)
    made = recording.one("kubernetes:core/v1:Secret")
    sent = made.inputs["data"]
    assert sent[rpc._special_sig_key] == rpc._special_secret_sig
    assert {key: base64.b64decode(text).decode() for key, text in sent["value"].items()} == values
    assert made.inputs["immutable"] is True
    assert made.inputs["type"] == of.kubernetes
    assert "stringData" not in made.inputs
    assert "name" not in made.inputs["metadata"]  # autonamed: another value is another name


@pytest.mark.parametrize(
    ("of", "values", "fault"),
    [
        (SecretType.TLS, {"tls.crt": CANARY, "tls.key": CANARY}, r"tls\.(crt|key) is no PEM text"),
        (SecretType.REGISTRY, {DOCKER_CONFIG: CANARY}, "has no logins"),
        (SecretType.REGISTRY, {"token": CANARY}, "a secret of type registry has the keys .dockerconfigjson and no others"),
        (SecretType.OPAQUE, {}, "a secret without a key holds nothing"),
        (SecretType.OPAQUE, {"token": 12345678}, "is neither text nor an output"),
    ],
)
def test_what_nothing_could_use_is_refused_without_being_quoted(of: SecretType, values: Any, fault: str) -> None:
    def make() -> None:
        ConfigSecret("a", {"namespace_name": "models", "type": of, "values": values})

    with pytest.raises(Exception, match=fault) as raised:
        record(make)
    assert CANARY not in str(raised.value)
    assert "12345678" not in str(raised.value)


def test_the_operator_may_have_tokens_of_the_account_of_a_store_and_of_no_other() -> None:
    vault = {"server": "https://vault.example.com:8200", "path": "secret", "role": "llm"}
    operator = {"namespace_name": "controllers", "service_account_name": "external-secrets"}
    args: Any = {"namespace_name": "models", "vault": vault, "operator": operator}

    def make() -> None:
        SecretStore("models", args)

    recording = record(make)
    account = recording.one("kubernetes:core/v1:ServiceAccount").outputs["metadata"]["name"]
    role = recording.one("kubernetes:rbac.authorization.k8s.io/v1:Role").inputs
    assert {rule["resources"][0]: rule["verbs"] for rule in role["rules"]} == {
        "serviceaccounts/token": ["create"],
        "serviceaccounts": ["get"],
    }
    assert all(rule["resourceNames"] == [account] for rule in role["rules"])
    store = recording.one("kubernetes:external-secrets.io/v1:SecretStore").inputs
    login = store["spec"]["provider"]["vault"]["auth"]["kubernetes"]
    assert login["serviceAccountRef"] == {"name": account, "audiences": ["vault"]}


def _statements(service: AwsSecretService, remotes: list[str], keys: list[str]) -> list[dict[str, Any]]:
    """What the operator is allowed in an account of AWS."""
    found: list[str] = []

    def run() -> None:
        here = [pulumi.Output.from_input(text) for text in ("aws", "123456789012", "us-east-1")]
        document(*reader_statements(Cloud(*here), service, remotes, keys)).apply(found.append)

    record(run)
    statements: list[dict[str, Any]] = json.loads(found[0])["Statement"]
    return statements


@pytest.mark.parametrize(
    ("service", "named", "resource", "others"),
    [
        (
            AwsSecretService.SECRETS_MANAGER,
            "llm/hf",
            "secret:llm/hf-AbCdEf",
            ["secret:llm/hf-token-AbCdEf", "secret:llm/hf2-AbCdEf", "secret:llm/h-AbCdEf", "secret:prod/llm/hf-AbCdEf"],
        ),
        (AwsSecretService.PARAMETER_STORE, "/llm/hf", "parameter/llm/hf", ["parameter/llm/hf2", "parameter/llm/hf/x"]),
        (AwsSecretService.PARAMETER_STORE, "flat", "parameter/flat", ["parameter/flatter"]),
    ],
)
def test_the_operator_reads_the_secrets_that_are_named(
    service: AwsSecretService, named: str, resource: str, others: list[str]
) -> None:
    check_remote(service, named)
    statements = _statements(service, [named], [])
    prefix = "secretsmanager" if service is AwsSecretService.SECRETS_MANAGER else "ssm"
    action = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}[prefix]
    arn = f"arn:aws:{prefix}:us-east-1:123456789012:"
    policies = [{"Statement": statements}]
    assert allows(policies, action, arn + resource)
    assert not any(allows(policies, action, arn + other) for other in others)
    assert not allows(policies, f"{prefix}:PutSecretValue", arn + resource)
    assert not any(fnmatch.fnmatch(one, "kms:*") for statement in statements for one in statement["Action"])


def test_a_key_of_ones_own_decrypts_through_the_service_only() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    [_, decrypt] = _statements(AwsSecretService.SECRETS_MANAGER, ["a"], [key])
    assert (decrypt["Action"], decrypt["Resource"]) == (["kms:Decrypt"], [key])
    domains = [f"secretsmanager.us-east-1.{domain}" for domain in ("amazonaws.com", "amazonaws.com.cn")]
    assert decrypt["Condition"] == {"StringEquals": {"kms:ViaService": domains}}


@pytest.mark.parametrize("remote", ["llm/*", "llm/?", "a b", "", "a" * 513, "${x}"])
def test_no_name_makes_a_policy_mean_more(remote: str) -> None:
    with pytest.raises(ValueError, match="is no name of"):
        check_remote(AwsSecretService.SECRETS_MANAGER, remote)


@pytest.mark.parametrize(
    ("chart", "version", "values"),
    [
        ("external-secrets", EXTERNAL_SECRETS, external_secrets_values({"role": "system"}, None)),
        ("external-secrets", EXTERNAL_SECRETS, external_secrets_values({}, "models")),
        ("sealed-secrets", SEALED_SECRETS, sealed_secrets_values({"role": "system"}, ["controllers", "models"])),
    ],
)
def test_the_charts_know_every_value(chart: str, version: str, values: dict[str, Any]) -> None:
    known = charts.find(chart, version)
    if known is None:
        pytest.skip(f"{charts.CHARTS_ENV} names no directory with the charts' facts")
    assert problems(values, known) == []
    for security in ("podSecurityContext", "securityContext", "containerSecurityContext"):
        assert set(values.get(security, {})) <= {*known.defaults.get(security, {}), "runAsNonRoot", "seccompProfile"} | {
            "allowPrivilegeEscalation"
        }


def test_our_own_definitions_are_a_part_of_the_published_ones() -> None:
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    published = list(definitions.parse((Path(folder) / f"external-secrets-v{EXTERNAL_SECRETS}.yaml").read_text("utf-8")))
    for ours in definitions.manifests("external-secrets", definitions.known("external-secrets")[EXTERNAL_SECRETS]):
        [theirs] = [each for each in published if each["metadata"]["name"] == ours["metadata"]["name"]]
        assert ours["spec"]["scope"] == theirs["spec"]["scope"]
        versions = [next(v for v in each["spec"]["versions"] if v["name"] == "v1") for each in (ours, theirs)]
        assert not _beyond(*(version["schema"]["openAPIV3Schema"]["properties"]["spec"] for version in versions))


def _beyond(ours: Any, theirs: Any, path: str = "spec") -> list[str]:
    """Where one schema says what the other does not."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{path}.{key}" for key in ours.keys() - theirs.keys()]
        return found + [
            fault for key in ours.keys() & theirs.keys() for fault in _beyond(ours[key], theirs[key], f"{path}.{key}")
        ]
    return [] if ours == theirs else [f"{path}: {ours!r} is {theirs!r}"]


@pytest.fixture(scope="module")
def sealing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("keys") / "sealing.key"
    file.write_bytes(new_key())
    return file


@pytest.mark.parametrize(
    ("annotations", "namespace", "name", "opens"),
    [
        ({}, "models", "hugging-face", True),
        ({}, "models", "hugging-face-v2", False),
        ({}, "other", "hugging-face", False),
        ({"sealedsecrets.bitnami.com/namespace-wide": "true"}, "models", "another", False),
    ],
)
def test_a_sealed_text_opens_for_its_namespace_and_name(
    sealing_key: Path, annotations: dict[str, str], namespace: str, name: str, opens: bool
) -> None:
    key = load_key(sealing_key.read_bytes())
    text = seal(key.public_key(), CANARY.encode(), label("models", "hugging-face", {}))
    bound_to = label(namespace, name, annotations)
    if opens:
        assert unseal([load_key(new_key()), key], text, bound_to) == CANARY.encode()
    else:
        with pytest.raises(NotOpenedError, match="no key could decrypt secret"):
            unseal([key], text, bound_to)


def test_kubeseal_seals_for_us_and_we_for_it(sealing_key: Path, tmp_path: Path) -> None:
    if (kubeseal := shutil.which("kubeseal")) is None:
        pytest.skip("kubeseal is not on PATH")
    key = load_key(sealing_key.read_bytes())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealing")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=1))
    certificate = tmp_path / "sealing.crt"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    scope = ["--raw", "--from-file", "/dev/stdin", "--name", "hugging-face", "--namespace", "models"]
    theirs = _run([kubeseal, "--cert", str(certificate), *scope], CANARY)
    assert unseal([key], base64.b64decode(theirs), b"models/hugging-face") == CANARY.encode()
    sealed = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "hugging-face", "namespace": "models"},
        "spec": {
            "encryptedData": {
                "token": base64.b64encode(seal(key.public_key(), CANARY.encode(), b"models/hugging-face")).decode()
            },
            "template": {"metadata": {"name": "hugging-face", "namespace": "models"}},
        },
    }
    opened = _run([kubeseal, "--recovery-unseal", "--recovery-private-key", str(sealing_key)], json.dumps(sealed))
    assert base64.b64decode(json.loads(opened)["data"]["token"]) == CANARY.encode()


def _run(command: list[str], given: str) -> str:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=30).stdout


def test_what_is_made_up_is_the_same_again_and_another_in_another_checkout() -> None:
    one, again, other = (Inventor(seed) for seed in (b"a", b"a", b"b"))
    for of, name in ((SecretType.OPAQUE, "token"), (SecretType.REGISTRY, DOCKER_CONFIG), (SecretType.TLS, "tls.key")):
        assert one.value(of, name, "x") == again.value(of, name, "x")
        assert one.value(of, name, "x") != other.value(of, name, "x")
        assert one.value(of, name, "x") != one.value(of, name, "y")
    certificate = x509.load_pem_x509_certificate(one.value(SecretType.TLS, "tls.crt", "x").encode())
    key = serialization.load_pem_private_key(one.value(SecretType.TLS, "tls.key", "x").encode(), None)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    assert certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def test_an_account_has_what_the_settings_name(stack: Stack) -> None:
    secrets = settings.from_config(
        _changed(
            stack,
            {
                "secretValues": {},
                "networkPolicies/secretStore": {"addresses": ["10.20.0.30/32"], "port": 8200},
                "secrets": {
                    "store": VAULT,
                    "items": {
                        "hugging-face": {"keys": {"token": {"remote": "llm/all", "property": "hf"}}},
                        "clients": {"keys": {"key": {"remote": "llm/all", "property": "api"}}},
                    },
                },
            },
        ),
        WHERE,
    ).secrets
    found = contents(secrets, Inventor(b"a"))
    assert set(found) == {"llm/all"}
    assert set(json.loads(found["llm/all"])) == {"hf", "api"}


def test_a_stack_file_is_prepared_once_and_anew_where_the_original_is_another(stack: Stack, sealing_key: Path) -> None:
    secrets, inventor = settings.from_config(stack, WHERE).secrets, Inventor(b"a")
    first = prepare.prepare(stack, secrets, inventor, sealing_key, {})
    assert "llm-platform:secretValues" not in first.config  # nothing that only the real deployment can open
    assert {prepare.path(steps) for steps in first.missing} == {
        "llm-platform:secretValues.hugging-face.token",
        "llm-platform:secretValues.clients.key",
        "llm-platform:secretValues.registry.password",
        'llm-platform:secretValues.gateway["tls.crt"]',
        'llm-platform:secretValues.gateway["tls.key"]',
    }
    kept = {origin: f"v1:ours:{prepare.path(steps)}" for steps, origin in first.origins.items()}
    second = prepare.prepare(stack, secrets, inventor, sealing_key, kept)
    assert not second.missing
    assert second.config["llm-platform:secretValues"]["clients"] == {
        "key": {"secure": "v1:ours:llm-platform:secretValues.clients.key"}
    }
    rotated = _changed(stack, {"secretValues/clients/key": {"secure": "v1:rotated"}})
    third = prepare.prepare(rotated, secrets, inventor, sealing_key, kept)
    [(steps, value)] = third.missing.items()
    assert steps[-2:] == ("clients", "key")
    assert value != first.missing[steps]


def test_what_is_sealed_for_a_cluster_is_sealed_for_the_rehearsal(stack: Stack, sealing_key: Path) -> None:
    changes = {
        "secretValues": {},
        "secrets/imagePull": ...,
        "secrets/store": {"kind": "sealedSecrets"},
        "secrets/items": {"hugging-face": {"rotation": 2, "keys": {"token": {"sealed": {"models": SEALED}}}}},
    }
    sealed = _changed(stack, changes)
    secrets = settings.from_config(sealed, WHERE).secrets
    prepared = prepare.prepare(sealed, secrets, Inventor(b"a"), sealing_key, {})
    keys = prepared.config["llm-platform:secrets"]["items"]["hugging-face"]["keys"]
    text = base64.b64decode(keys["token"]["sealed"]["models"])
    assert unseal([load_key(sealing_key.read_bytes())], text, b"models/hugging-face-v2")
    again = prepare.prepare(sealed, secrets, Inventor(b"a"), sealing_key, prepared.kept)
    assert again.config == prepared.config
