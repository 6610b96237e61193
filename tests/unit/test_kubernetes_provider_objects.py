"""Identity, names, secrets, previews and refusals of Kubernetes objects."""

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.providers.contract import ChangeKind, ProviderError, Request
from sandbox.providers.kubernetes import checking, refusals, settings
from sandbox.providers.kubernetes.client import ApiError, UnreachableError, parse_discovery, parse_kubeconfig, with_cluster
from sandbox.providers.kubernetes.objects import (
    AUTONAMED,
    Type,
    as_import,
    autoname,
    carried_secrets,
    checkpoint,
    dashed,
    field_manager,
    fold_string_data,
    identity,
    previewed,
    recorded,
    split_identity,
    type_of,
    type_of_token,
    underscored,
    unfold_string_data,
)
from sandbox.providers.properties import UNKNOWN, Path, Properties

URN = "urn:pulumi:dev::platform::llm-platform:index:Model$kubernetes:apps/v1:Deployment::model-server"


def test_a_request_knows_type_and_name_of_its_urn() -> None:
    assert (Request(URN).type, Request(URN).name) == ("kubernetes:apps/v1:Deployment", "model-server")


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("kubernetes:core/v1:Pod", Type("v1", "Pod")),
        ("kubernetes:apps/v1:Deployment", Type("apps/v1", "Deployment")),
        ("kubernetes:apps/v1:DeploymentPatch", Type("apps/v1", "Deployment", patch=True)),
        ("kubernetes:networking.k8s.io/v1:IngressPatch", Type("networking.k8s.io/v1", "Ingress", patch=True)),
        (
            "kubernetes:rbac.authorization.k8s.io/v1:RolePatch",
            Type("rbac.authorization.k8s.io/v1", "Role", patch=True),
        ),
        ("kubernetes:example.com/v1:Patch", Type("example.com/v1", "Patch")),
        ("kubernetes:example.com/v1:MyPatch", Type("example.com/v1", "MyPatch")),
        ("kubernetes:karpenter.sh/v1:NodePool", Type("karpenter.sh/v1", "NodePool")),
    ],
)
def test_types_of_tokens(token: str, expected: Type) -> None:
    assert type_of_token(token) == expected


def test_an_object_s_own_type_wins() -> None:
    assert type_of({"apiVersion": "apps/v2", "kind": "X"}, "kubernetes:apps/v1:Deployment") == Type("apps/v2", "X")
    assert type_of({"apiVersion": UNKNOWN}, "kubernetes:apps/v1:Deployment") == Type("apps/v1", "Deployment")


@given(st.text("abc-.", min_size=1, max_size=300), st.binary(min_size=1, max_size=8))
def test_names_are_short_stable_and_different(name: str, seed: bytes) -> None:
    made = autoname(name, seed)
    assert len(made) <= 63
    assert re.search(r"-[0-9a-f]{8}$", made)
    assert made == autoname(name, seed)
    assert made != autoname(name, seed + b"x")


def test_identity_goes_both_ways() -> None:
    assert identity({"metadata": {"namespace": "n", "name": "a"}}) == "n/a"
    assert identity({"metadata": {"name": "a"}}) == "a"
    assert split_identity("n/a") == ("n", "a")
    assert split_identity("a") == ("", "a")


def test_the_field_manager_is_stable_and_can_be_chosen() -> None:
    assert field_manager(URN, {}, {}) == field_manager(URN, {}, {}) != field_manager(URN + "x", {}, {})
    assert field_manager(URN, {}, {"__fieldManager": "recorded"}) == "recorded"
    chosen = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": "mine"}}}
    assert field_manager(URN, chosen, {"__fieldManager": "recorded"}) == "mine"


NAMED = {"metadata": {"name": "model-1", "annotations": {AUTONAMED: "true"}}}


@pytest.mark.parametrize(
    ("inputs", "old", "expected"),
    [
        ({"metadata": {"name": "own"}}, {}, {"name": "own"}),
        ({}, NAMED, {"name": "model-1", "annotations": {AUTONAMED: "true"}}),
        ({"metadata": {"name": "own"}}, NAMED, {"name": "own"}),
        ({"metadata": {"name": UNKNOWN}}, {}, {"name": UNKNOWN}),
    ],
)
def test_names_are_kept(inputs: dict[str, Any], old: dict[str, Any], expected: dict[str, Any]) -> None:
    assert checking.named(inputs, old, Request(URN, seed=b"1"))["metadata"] == expected


def test_a_name_is_made_where_there_is_none() -> None:
    made = checking.named({"metadata": {"labels": {"a": "b"}}}, {"metadata": {"name": "chosen"}}, Request(URN, seed=b"1"))
    assert made["metadata"]["name"].startswith("model-server-")
    assert made["metadata"]["annotations"] == {AUTONAMED: "true"}
    proposed = checking.named({}, {}, Request(URN, proposed_name="proposed"))
    assert proposed["metadata"]["name"] == "proposed"
    with pytest.raises(ProviderError, match=r"metadata\.name is missing"):
        checking.named({}, {}, Request(URN, autonaming=False))
    with pytest.raises(ProviderError, match="generateName"):
        checking.named({"metadata": {"generateName": "x-"}}, {}, Request(URN))


def test_without_a_cluster_the_scope_is_guessed() -> None:
    assert checking.is_namespaced(None, Type("v1", "ConfigMap"), {})
    assert not checking.is_namespaced(None, Type("v1", "Namespace"), {})
    assert not checking.is_namespaced(None, Type("example.com/v1", "Toy"), {"metadata": {"name": "known-to-have-none"}})


SECRET = {"apiVersion": "v1", "kind": "Secret"}


def test_string_data_is_compared_as_it_was_given() -> None:
    inputs = {**SECRET, "stringData": {"a": "text"}, "data": {"b": "Yg=="}}
    live = {**SECRET, "data": {"a": "dGV4dA==", "b": "Yg==", "c": "Yw=="}}
    assert fold_string_data(inputs) == {**SECRET, "data": {"a": "dGV4dA==", "b": "Yg=="}}
    assert unfold_string_data(live, inputs) == {**SECRET, "stringData": {"a": "text"}, "data": {"b": "Yg==", "c": "Yw=="}}
    assert unfold_string_data(live, SECRET) == live


@pytest.mark.parametrize(
    ("values", "known", "expected"),
    [
        ({"a": {"b": 1}}, {("a", "b")}, {("a", "b")}),
        ({"a": {"b": [1, 2]}}, {("a", "b", 1)}, {("a", "b")}),
        ({"a": {}}, {("a", "b")}, set()),
        ({**SECRET, "data": {}}, set(), {("data",)}),
        ({**SECRET, "data": {}, "stringData": {}}, {("stringData", "x")}, {("data",), ("stringData",)}),
        ({"a": {"b": 1}}, {("a",), ("a", "b")}, {("a",)}),
    ],
)
def test_secrets_are_carried(values: dict[str, Any], known: set[Path], expected: set[Path]) -> None:
    assert carried_secrets(values, frozenset(known)) == expected


def test_a_checkpoint_holds_object_and_inputs_apart() -> None:
    inputs = Properties({"apiVersion": "v1", "kind": "X", "spec": {"token": "t"}}, frozenset({("spec", "token")}))
    live = {"apiVersion": "v1", "kind": "X", "spec": {"token": "t", "more": 1}, "status": {}}
    state = checkpoint(live, inputs, "v1", "manager")
    assert recorded(state.values) == (inputs.values, live)
    assert state.secrets == {("spec", "token"), ("__inputs", "spec", "token")}
    assert (state.values["__fieldManager"], state.values["__initialApiVersion"]) == ("manager", "v1")


def test_schema_fields_have_the_names_of_each_side() -> None:
    theirs = {"a": [{"x-kubernetes-int-or-string": True, "x-other": 1}]}
    ours = {"a": [{"x_kubernetes_int_or_string": True, "x-other": 1}]}
    assert underscored(theirs) == ours
    assert dashed(ours) == theirs


def test_an_import_leaves_out_what_only_the_server_sets() -> None:
    live = {
        "kind": "X",
        "metadata": {
            "name": "a",
            "uid": "u",
            "managedFields": [],
            "creationTimestamp": "t",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {"a": 1},
        "status": {},
    }
    before = copy.deepcopy(live)
    assert as_import(live) == {"kind": "X", "metadata": {"name": "a"}, "spec": {"a": 1}}
    assert live == before


def test_a_preview_does_not_promise_what_the_server_makes_anew() -> None:
    result = {
        "kind": "Service",
        "metadata": {"name": "a", "uid": "dry-run", "managedFields": []},
        "spec": {
            "clusterIP": "10.0.0.9",
            "type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30001}, {"port": 81, "nodePort": 30002}],
        },
        "status": {"loadBalancer": {}},
    }
    shown = previewed(result, {"spec": {"ports": [{"port": 80, "nodePort": 30001}, {"port": 81}]}})
    assert shown["metadata"]["uid"] is UNKNOWN
    assert "managedFields" not in shown["metadata"]
    assert shown["spec"]["clusterIP"] is UNKNOWN
    assert [port["nodePort"] for port in shown["spec"]["ports"]] == [30001, UNKNOWN]
    assert shown["status"] is UNKNOWN
    assert previewed(result, {"spec": {"clusterIP": "10.0.0.9"}})["spec"]["clusterIP"] == "10.0.0.9"


def refusal(code: int, message: str, *causes: dict[str, str], reason: str = "") -> ApiError:
    return ApiError({"message": message, "reason": reason, "details": {"causes": list(causes)}}, code)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            refusal(
                400,
                'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo"',
            ),
            [("spec.foo", "unknown field; the API has no such field in spec")],
        ),
        (
            refusal(
                500,
                "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
            ),
            [("spec.foo", "unknown field; the API has no such field in spec")],
        ),
        (
            refusal(
                400,
                'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct '
                "field DeploymentSpec.spec.replicas of type int32",
            ),
            [("spec.replicas", "must be a whole number, not a string")],
        ),
        (
            refusal(400, 'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression'),
            [("", "quantities must match the regular expression")],
        ),
        (
            refusal(422, "x is invalid", {"field": "spec.a", "message": "Required value"}),
            [("spec.a", "Required value")],
        ),
        (
            refusal(422, "x", {"field": "spec.template", "message": f"Invalid value: {{{'x' * 200}}}: field is immutable"}),
            [("spec.template", "field is immutable")],
        ),
        (refusal(422, "bad", {"field": "<nil>", "message": "Invalid value: 1: odd"}), [("", "Invalid value: 1: odd")]),
        (refusal(403, "exceeded quota"), []),
        (refusal(409, "already exists"), []),
    ],
)
def test_refusals_become_fields_and_reasons(error: ApiError, expected: list[tuple[str, str]]) -> None:
    assert refusals.failures(error) == expected


def test_a_conflict_lists_owners_and_fields() -> None:
    def cause(manager: str, field: str) -> dict[str, str]:
        return {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}" using apps/v1', "field": field}

    error = refusal(409, "Apply failed", cause("kubectl-edit", ".spec.replicas"), cause("hpa", ".a"), cause("hpa", ".b"))
    text = refusals.sentence(error, "update", {"kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}})
    assert text.startswith("cannot update Deployment n/d: spec.replicas is managed by kubectl-edit; a, b are managed by hpa; ")
    assert "pulumi.com/patchForce" in text


def test_which_refusals_pass_and_which_are_permissions() -> None:
    assert refusals.is_passing(refusal(403, 'error looking up service account n/default: serviceaccount "default" not found'))
    assert refusals.is_passing(refusal(500, "failed calling webhook x: no endpoints available"))
    assert not refusals.is_passing(refusal(403, 'pods "x" is forbidden: violates PodSecurity'))
    assert refusals.is_permission(refusal(403, 'pods is forbidden: User "ci" cannot create resource "pods"'))
    assert not refusals.is_permission(refusal(403, 'pods "x" is forbidden: exceeded quota'))


def test_discovery_finds_kinds_but_not_their_subresources() -> None:
    document = {
        "items": [
            {
                "metadata": {"name": "apps"},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {
                                "resource": "deployments",
                                "responseKind": {"kind": "Deployment"},
                                "scope": "Namespaced",
                                "verbs": ["get"],
                            },
                            {"resource": "odd", "responseKind": {"kind": "Odd"}, "scope": "Cluster", "verbs": ["create"]},
                        ],
                    }
                ],
            }
        ]
    }
    found = parse_discovery("/apis", document)
    assert set(found) == {("apps/v1", "Deployment")}
    kind = found["apps/v1", "Deployment"]
    assert kind.item({"metadata": {"name": "d", "namespace": "n"}}) == "/apis/apps/v1/namespaces/n/deployments/d"
    assert kind.collection("") == "/apis/apps/v1/deployments"


def kubeconfig(server: str, ca: str = "a") -> str:
    config = {
        "apiVersion": "v1",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {"server": server, "certificate-authority-data": ca}},
            {"name": "l", "cluster": {"server": "l"}},
        ],
        "users": [{"name": "u", "user": {}}],
    }
    return json.dumps(config)


def test_a_kubeconfig_can_point_at_another_of_its_clusters() -> None:
    config = with_cluster(parse_kubeconfig(kubeconfig("s")), "", "l")
    assert config["contexts"][0]["context"] == {"cluster": "l", "user": "u"}
    for text in ("{}", "[", "nonsense", "contexts: []"):
        with pytest.raises(UnreachableError):
            parse_kubeconfig(text)


ONE, SAME, OTHER = kubeconfig("https://one"), kubeconfig("https://one") + "\n", kubeconfig("https://two")


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        ({"kubeconfig": ONE, "clusterIdentifier": "i"}, {"kubeconfig": OTHER, "clusterIdentifier": "i"}, ()),
        ({"kubeconfig": ONE, "clusterIdentifier": "i"}, {"kubeconfig": UNKNOWN, "clusterIdentifier": "i"}, ()),
        ({"kubeconfig": ONE, "clusterIdentifier": "i"}, {"kubeconfig": ONE, "clusterIdentifier": "j"}, ("clusterIdentifier",)),
        ({"kubeconfig": ONE}, {"kubeconfig": SAME}, ()),
        ({"kubeconfig": ONE}, {"kubeconfig": OTHER}, ("kubeconfig",)),
        ({"kubeconfig": ONE}, {"kubeconfig": kubeconfig("https://one", "b")}, ("kubeconfig",)),
        ({"kubeconfig": ONE}, {"kubeconfig": ONE, "cluster": "l"}, ("cluster",)),
        ({"kubeconfig": ONE}, {"kubeconfig": UNKNOWN}, ("kubeconfig",)),
        ({"kubeconfig": ONE}, {"kubeconfig": ONE, "clusterIdentifier": "i"}, ()),
        ({"kubeconfig": ONE, "namespace": "a"}, {"kubeconfig": ONE, "namespace": "b"}, ()),
    ],
)
def test_only_another_cluster_replaces_the_provider(old: dict[str, Any], new: dict[str, Any], replaces: tuple[str, ...]) -> None:
    diffed = settings.diff(Request(URN, inputs=Properties(new), state=Properties(old)))
    assert diffed.replaces == replaces
    assert set(diffed.changes) == {name for name in {*old, *new} if old.get(name) != new.get(name)}
    assert all(isinstance(kind, ChangeKind) for kind in diffed.changes.values())


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"kubeconfig": "x", "clusterIdentifier": "i", "deleteUnreachable": "true", "version": "4.34.2"}, []),
        ({"kubeconfg": "x"}, ["kubeconfg"]),
        ({"enableServerSideApply": "false"}, ["enableServerSideApply"]),
        ({"renderYamlToDirectory": "out"}, ["renderYamlToDirectory"]),
        ({"deleteUnreachable": "perhaps"}, ["deleteUnreachable"]),
    ],
)
def test_settings_are_checked(given: dict[str, Any], wrong: list[str]) -> None:
    assert [name for name, _ in settings.check(Request(URN, inputs=Properties(given))).failures] == wrong


def test_settings_fall_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
    assert settings.read({}).delete_unreachable
    assert not settings.read({"deleteUnreachable": "false"}).delete_unreachable
    assert settings.read({"enableSecretMutable": True, "namespace": "n"}) == settings.Settings(
        namespace="n", secret_mutable=True, delete_unreachable=True
    )
