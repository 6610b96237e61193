"""Secrets through the real engine and a real API server: they reach pods as files, and nothing else ever shows them."""

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from components.versions import EXTERNAL_SECRETS
from sandbox.aws.clusters import clusters
from sandbox.charts import definitions
from sandbox.control_plane.api import Api
from sandbox.control_plane.contents import objects_in
from sandbox.engine import Engine
from sandbox.project import Project
from sandbox.secrets.sealing import load_key, new_key, seal
from tests.aws_eks_support import KEYS, REGION, Served, served
from tests.conftest import ROOT
from tests.contracts.examples import SEALED
from tests.rehearsal.project import RehearsedProject
from tests.rehearsal.test_aws_eks import administrator
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

MODEL = "qwen2-5-7b"
Config = dict[str, Any]
PULLING = ("models", "monitoring", "node-agents")
"""Namespaces whose pods pull images."""
_OF_KUBERNETES = ("Namespace default", "Namespace kube-node-lease", "Namespace kube-public", "Namespace kube-system")


def _config(config: Config) -> None:
    config["llm-platform:secrets"] = {
        "items": {
            "hugging-face": {"keys": {"token": {}}},
            "clients": {"keys": {"key": {}}},
            "registry": {"type": "registry", "server": "registry.example.com", "username": "robot"},
            "gateway": {"type": "tls", "namespaces": ["models"]},
        },
        "imagePull": "registry",
    }
    values = {"hugging-face": ["token"], "clients": ["key"], "registry": ["password"], "gateway": ["tls.crt", "tls.key"]}
    config["llm-platform:secretValues"] = {
        item: {key: {"secure": f"v1:{item}:{key}"} for key in keys} for item, keys in values.items()
    }


def _outside(config: Config, store: Config, key: Callable[..., Config]) -> None:
    """The same secrets where they come from elsewhere."""
    config["llm-platform:secrets"] = {
        "store": store,
        "items": {
            "hugging-face": {"keys": {"token": key("hf", "models")}},
            "clients": {"keys": {"key": key("clients", "models")}},
            "registry": {"type": "registry", "keys": {".dockerconfigjson": key("registry", *PULLING)}},
            "gateway": {
                "type": "tls",
                "namespaces": ["models"],
                "keys": {part: key(part, "models") for part in ("tls.crt", "tls.key")},
            },
        },
        "imagePull": "registry",
    }


def _sealed(config: Config) -> None:
    _outside(config, {"kind": "sealedSecrets"}, lambda _name, *namespaces: {"sealed": dict.fromkeys(namespaces, SEALED)})


def _vault(config: Config) -> None:
    config["llm-platform:networkPolicies"]["secretStore"] = {"addresses": ["10.20.0.30/32"], "port": 8200}
    store = {"kind": "vault", "server": "https://vault.example.com:8200", "role": "llm"}
    _outside(config, store, lambda name, *_: {"remote": f"llm/{name}", "property": "value"})


def _aws(config: Config) -> None:
    _outside(config, {"kind": "awsSecretsManager"}, lambda name, *_: {"remote": f"llm/{name}", "property": "value"})


STORES: dict[str, tuple[str, Callable[[Config], None]]] = {
    "config": ("local", _config),
    "sealed": ("local", _sealed),
    "vault": ("local", _vault),
    "aws": ("dev", _aws),
}
"""Where secrets may come from: a stack that can have them from there, and the change that makes it."""


@pytest.fixture(
    scope="module", params=["config", *(pytest.param(store, marks=pytest.mark.long) for store in STORES if store != "config")]
)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    """A stack with a token, a key for clients, a login to a registry and a certificate."""
    stack, stored = STORES[request.param]
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("secrets"), stack)

    def change(config: Config) -> None:
        config["llm-platform:models"][MODEL] |= {
            "tokenSecret": {"name": "hugging-face"},
            "apiKeySecret": {"name": "clients", "key": "key"},
        }
        stored(config)

    project.edit(change)
    yield project
    project.run("reset")


@pytest.fixture(scope="module")
def said(project: RehearsedProject) -> Mapping[str, str]:
    """What each command printed, and the command lines and environments of all processes meanwhile."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for process in psutil.process_iter(["cmdline", "environ"]):
                seen.add(" ".join(process.info["cmdline"] or []))
                seen.update(f"{key}={value}" for key, value in (process.info["environ"] or {}).items())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = {"preview": project.succeed("preview"), "preview --json": project.succeed("preview", "--json")}
        found["up"] = project.succeed("up")
        found["second preview"] = project.succeed("preview", "--json")
    finally:
        ended.set()
        watcher.join()
    return {**found, "processes": "\n".join(seen)}


def _items(project: RehearsedProject, path: str, selector: str = "") -> list[Config]:
    with project.api() as api:
        return api.items(path, selector)


def _secrets(project: RehearsedProject) -> dict[str, Config]:
    """By namespace and name the Secrets of the stack, with their values decoded."""
    found = {}
    for secret in _items(project, "/api/v1/secrets", "app.kubernetes.io/part-of=llm-platform"):
        data = {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}
        found[f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"] = {**secret, "data": data}
    return found


def _canaries(project: RehearsedProject) -> set[str]:
    """Texts that nobody may see: every value, and the parts of those that are several lines or JSON."""
    found: set[str] = set()
    for secret in _secrets(project).values():
        for key, value in secret["data"].items():
            if key == ".dockerconfigjson":
                found.update(login["password"] for login in json.loads(value)["auths"].values())
            elif key == "tls.key":
                found.update(line for line in value.splitlines() if not line.startswith("-----"))
            elif key != "tls.crt":
                found.add(value)
            found.update({base64.b64encode(value.encode()).decode()} if key != "tls.crt" else ())
    return found


def test_every_secret_is_made_of_its_type_where_it_is_read(project: RehearsedProject, said: Mapping[str, str]) -> None:
    made = _secrets(project)
    types = sorted((name.split("/")[0], secret["type"]) for name, secret in made.items())
    assert types == [
        ("models", "Opaque"),
        ("models", "Opaque"),
        ("models", "kubernetes.io/dockerconfigjson"),
        ("models", "kubernetes.io/tls"),
        ("monitoring", "kubernetes.io/dockerconfigjson"),
        ("node-agents", "kubernetes.io/dockerconfigjson"),
    ]
    assert len(_canaries(project)) >= 8
    assert json.loads(said["second preview"]) == []
    if "ExternalSecret" not in said["preview"]:
        assert all(secret["immutable"] for secret in made.values())


def test_no_canary_anywhere(project: RehearsedProject, said: Mapping[str, str]) -> None:
    """Previews, output, events, other objects, logs, the audit log, state, arguments and environments, and every file."""
    canaries = _canaries(project)
    for place, text in said.items():
        assert not [canary for canary in canaries if canary in text], place
    with project.api() as api:
        groups = [
            ("/api/v1", "v1"),
            *((f"/apis/{v['groupVersion']}", "") for g in api.get("/apis")["groups"] for v in g["versions"]),
        ]
        looked_at = set()
        for path, _ in groups:
            for resource in api.get(path)["resources"]:
                if "list" not in resource["verbs"] or resource["name"] == "secrets":
                    continue
                text = json.dumps(api.items(f"{path}/{resource['name']}"))
                assert not [canary for canary in canaries if canary in text], resource["name"]
                looked_at.add(resource["name"])
    assert {"events", "configmaps", "pods", "deployments", "jobs", "serviceaccounts"} <= looked_at
    files = [file for file in project.root.rglob("*") if file.is_file() and not file.is_symlink()]
    assert {"audit.log", f"{project.stack}.json"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert not [canary for canary in canaries if canary.encode() in content], file


def test_what_opens_secrets_is_for_its_owner_alone(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    kept = project.root / ".sandbox" / "state"
    for file in (kept / "passphrase", kept / "sealing.key"):
        assert not file.exists() or file.stat().st_mode & 0o077 == 0, file


def test_pods_have_secrets_as_files_and_their_accounts_the_login(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    names = {name.split("/")[1] for name in _secrets(project)}
    mounted: dict[str, list[str]] = {}
    for pod in _items(project, "/api/v1/namespaces/models/pods"):
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        volumes = [each["secret"] for each in pod["spec"].get("volumes", []) if "secret" in each]
        mounted.setdefault(component, []).extend(volume["secretName"] for volume in volumes)
        assert all(volume["defaultMode"] & 0o007 == 0 for volume in volumes)
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            assert not [one for one in container.get("env") or [] if "secretKeyRef" in one.get("valueFrom", {})]
            assert not [one for one in container.get("envFrom") or [] if "secretRef" in one]
        assert [one["name"] for one in pod["spec"].get("imagePullSecrets", [])], component
    assert len(mounted["model-server"]) == 1
    assert set(mounted["model-server"]) <= names
    for namespace in ("models", "node-agents"):
        accounts = _items(project, f"/api/v1/namespaces/{namespace}/serviceaccounts")
        assert all(one["name"] in names for account in accounts for one in account.get("imagePullSecrets", []))


def _rotate(project: RehearsedProject, item: str) -> None:
    def change(config: Config) -> None:
        if "llm-platform:secretValues" in config:
            for value in config["llm-platform:secretValues"][item].values():
                value["secure"] += "2"
        else:
            config["llm-platform:secrets"]["items"][item]["rotation"] = 2

    project.edit(change)


def test_another_pull_secret_rolls_no_pod(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    before = project.stack_file.read_text()
    _rotate(project, "registry")
    changed = {name.split()[0] for name in project.changes()}
    kinds = {"Secret"} if "secretValues" in before else {"SealedSecret", "ExternalSecret"}
    assert changed - kinds == {"ServiceAccount", "ServiceAccountPatch"}
    assert changed & kinds
    project.stack_file.write_text(before)


def test_another_key_rolls_what_reads_it_and_nothing_else(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    old = set(_secrets(project))
    _rotate(project, "clients")
    changed = project.changes()
    # The check after a rollout asks with the key, and waits for the server to tell what it is.
    of_check = {name for name in changed if name.split()[1].endswith("-verification")}
    assert {name.split()[0] for name in of_check} == {"ConfigMap", "Job"}
    rest = sorted((how, name.split()[0]) for name, how in changed.items() if name not in of_check)
    assert rest in [[("replace", kind), ("update", "Deployment")] for kind in ("Secret", "SealedSecret", "ExternalSecret")]
    project.succeed("up")
    now = set(_secrets(project))
    (gone,), (come,) = old - now, now - old
    assert "clients" in gone
    (server,) = _items(project, "/apis/apps/v1/namespaces/models/deployments")
    secrets = [each["secret"]["secretName"] for each in server["spec"]["template"]["spec"]["volumes"] if "secret" in each]
    assert [f"models/{name}" for name in secrets] == [come]
    assert json.loads(project.succeed("preview", "--json")) == []


def test_what_was_sealed_for_another_cluster_stays_closed(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    if "sealedSecrets" not in project.stack_file.read_text():
        pytest.skip("there is no controller of sealed secrets")
    text = seal(load_key(new_key()).public_key(), b"value", b"models/foreign")
    sealed = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "foreign", "namespace": "models"},
        "spec": {"encryptedData": {"token": base64.b64encode(text).decode()}},
    }
    path = "/apis/bitnami.com/v1alpha1/namespaces/models/sealedsecrets/foreign"
    with project.api() as api:
        api.apply(path, sealed)
        (condition,) = eventually(lambda: api.get(path).get("status", {}).get("conditions"))
        assert (condition["type"], condition["status"]) == ("Synced", "False")
        assert condition["message"] == "no key could decrypt secret (token)"
        api.delete(path)


def test_down_leaves_nothing(project: RehearsedProject, said: Mapping[str, str]) -> None:
    del said
    with Engine.open(Project(project.root).stack(project.stack)) as engine:
        engine.down(str)
        if project.stack == "dev":
            # With the cluster everything in it is gone.
            assert clusters(project.account().home) == {}
            return
        with project.api() as api:
            kinds = ("Secret", "SealedSecret", "ExternalSecret", "SecretStore", "CustomResourceDefinition", "Namespace")
            left = [found for found in objects_in(api) if found.split()[0] in kinds]
    assert [name for name in left if name.split("/")[-1] not in _OF_KUBERNETES] == []


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[Served]:
    """An account with a cluster whose controllers reach it, and an operator that may read one secret."""
    del binaries
    with served(tmp_path_factory.mktemp("account")) as made:
        made.eks.create_cluster(**made.cluster())
        role = made.role("operator", "pods.eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession"))
        secret = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:llm/hf-??????"
        allowed = {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [secret]}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        made.iam.put_role_policy(RoleName="operator", PolicyName="read", PolicyDocument=document)
        made.eks.get_waiter("cluster_active").wait(name="main", WaiterConfig={"Delay": 1})
        made.eks.create_pod_identity_association(
            clusterName="main", namespace="controllers", serviceAccount="external-secrets", roleArn=role
        )
        yield made


@pytest.fixture(scope="module")
def remote(account: Served) -> Any:
    """Secrets Manager, with one secret that may be read and one that may not."""
    client = boto3.client("secretsmanager", endpoint_url=account.iam.meta.endpoint_url, **KEYS)
    for name in ("llm/hf", "llm/other"):
        client.create_secret(Name=name, SecretString=json.dumps({"token": f"first {name}"}))
    return client


@pytest.fixture(scope="module")
def cluster(account: Served, remote: Any) -> Iterator[Api]:
    """Its administrator, with the operator installed for the namespace `models`, and a store there and elsewhere."""
    del remote
    with administrator(account, "main") as api:
        for namespace in ("controllers", "models", "elsewhere"):
            api.apply(
                f"/api/v1/namespaces/{namespace}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            )
        for manifest in _definitions():
            api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{manifest['metadata']['name']}", manifest)
        inputs = {"values": {"scopedNamespace": "models", "serviceAccount": {"name": "external-secrets"}}}
        label = "llm-platform.rehearsal/helm-release"
        record = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "helm-release-external-secrets",
                "namespace": "controllers",
                "labels": {label: "true"},
                "annotations": {f"{label}-chart": f"external-secrets-{EXTERNAL_SECRETS}"},
            },
            "stringData": {"inputs.json": json.dumps(inputs)},
        }
        api.apply("/api/v1/namespaces/controllers/secrets/helm-release-external-secrets", record)
        store = {"provider": {"aws": {"service": "SecretsManager", "region": REGION}}}
        for namespace in ("models", "elsewhere"):
            eventually(partial(_apply, api, "SecretStore", namespace, "store", store))
        yield api


def _definitions() -> list[Config]:
    """Those the project published, where they are at hand; else our own."""
    ours = definitions.manifests("external-secrets", definitions.known("external-secrets")[EXTERNAL_SECRETS])
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        return ours
    names = {manifest["metadata"]["name"] for manifest in ours}
    published = definitions.parse((Path(folder) / f"external-secrets-v{EXTERNAL_SECRETS}.yaml").read_text("utf-8"))
    return [manifest for manifest in published if manifest["metadata"]["name"] in names]


def _apply(api: Api, kind: str, namespace: str, name: str, spec: Config) -> bool:
    path = f"/apis/external-secrets.io/v1/namespaces/{namespace}/{kind.lower()}s/{name}"
    if not api.is_there(f"/apis/external-secrets.io/v1/{kind.lower()}s"):
        return False  # the API server learns of a new kind a moment later
    metadata = {"name": name, "namespace": namespace}
    api.apply(path, {"apiVersion": "external-secrets.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
    return True


def _external(api: Api, name: str, key: str, namespace: str = "models", part: str = "token") -> None:
    spec = {
        "secretStoreRef": {"kind": "SecretStore", "name": "store"},
        "refreshInterval": "1s",
        "target": {"name": name},
        "data": [{"secretKey": "token", "remoteRef": {"key": key, "property": part}}],
    }
    eventually(lambda: _apply(api, "ExternalSecret", namespace, name, spec))


def _condition(api: Api, name: str, namespace: str = "models") -> tuple[str, str, str] | None:
    found = api.get(f"/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/{name}").get("status") or {}
    told = [(each["status"], each["reason"], each["message"]) for each in found.get("conditions") or []]
    return told[0] if told else None


def _value(api: Api, name: str) -> str | None:
    path = f"/api/v1/namespaces/models/secrets/{name}"
    return base64.b64decode(api.get(path)["data"]["token"]).decode() if api.is_there(path) else None


def test_a_secret_of_the_account_is_copied_followed_and_kept(cluster: Api, remote: Any) -> None:
    _external(cluster, "hugging-face", "llm/hf")
    eventually(lambda: _condition(cluster, "hugging-face") == ("True", "SecretSynced", "secret synced"))
    assert _value(cluster, "hugging-face") == "first llm/hf"
    remote.put_secret_value(SecretId="llm/hf", SecretString=json.dumps({"token": "second"}))
    eventually(lambda: _value(cluster, "hugging-face") == "second")
    cluster.delete("/api/v1/namespaces/models/secrets/hugging-face")
    eventually(lambda: _value(cluster, "hugging-face") == "second")


@pytest.mark.parametrize(
    ("name", "key", "part", "reason"),
    [
        ("other", "llm/other", "token", "is not authorized to perform: secretsmanager:GetSecretValue on resource: llm/other"),
        ("wrong-part", "llm/hf", "password", "key password does not exist in secret llm/hf"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_reason(cluster: Api, name: str, key: str, part: str, reason: str) -> None:
    _external(cluster, name, key, part=part)
    eventually(lambda: _condition(cluster, name) == ("False", "SecretSyncedError", "could not get secret data from provider"))
    events = eventually(
        lambda: [
            event["message"]
            for event in cluster.items("/api/v1/namespaces/models/events")
            if event["involvedObject"]["name"] == name and event["reason"] == "UpdateFailed"
        ]
    )
    assert events[0].startswith(f"error processing spec.data[0] (key: {key}), err: ")
    assert reason in events[0]
    assert _value(cluster, name) is None


def test_a_scoped_operator_serves_its_namespace_alone(cluster: Api) -> None:
    _external(cluster, "foreign", "llm/hf", namespace="elsewhere")
    _external(cluster, "own", "llm/hf")
    eventually(lambda: _condition(cluster, "own"))
    time.sleep(1)
    assert _condition(cluster, "foreign", "elsewhere") is None
