"""What changes, what forces a replacement, and what belongs to others: pure functions on object JSON."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.providers.contract import ChangeKind
from sandbox.providers.kubernetes.changes import (
    compare,
    delete_before_replace,
    replaced_by_refusal,
    replaced_by_rule,
    without_ignored,
    without_noise,
)
from sandbox.providers.kubernetes.context import set_by_others, with_live
from sandbox.providers.kubernetes.objects import Type
from sandbox.providers.kubernetes.pruning import prune
from sandbox.providers.kubernetes.settings import Settings
from sandbox.providers.properties import UNKNOWN, Path, lookup

ADD, DELETE, UPDATE = ChangeKind.ADD, ChangeKind.DELETE, ChangeKind.UPDATE
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3),
    max_leaves=10,
)
CONFIG_MAP, SECRET, JOB, POD = Type("v1", "ConfigMap"), Type("v1", "Secret"), Type("batch/v1", "Job"), Type("v1", "Pod")


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert compare(value, copy.deepcopy(value)) == {}


@given(JSON, JSON)
def test_differences_mirror_each_other(old: Any, new: Any) -> None:
    mirrored = {ADD: DELETE, DELETE: ADD, UPDATE: UPDATE}
    assert {path: mirrored[kind] for path, kind in compare(new, old).items()} == compare(old, new)


@given(JSON, JSON)
def test_equal_exactly_when_nothing_differs(old: Any, new: Any) -> None:
    assert (compare(old, new) == {}) == (repr(_sorted(old)) == repr(_sorted(new)))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_every_difference_is_where_it_says(old: Any, new: Any) -> None:
    missing = object()
    for path, kind in compare(old, new).items():
        before, after = lookup(old, path, missing), lookup(new, path, missing)
        assert (before is missing) == (kind is ADD)
        assert (after is missing) == (kind is DELETE)


def test_an_unknown_differs_from_everything() -> None:
    assert compare({"a": "x"}, {"a": UNKNOWN, "b": UNKNOWN}) == {("a",): UPDATE, ("b",): ADD}


def test_true_is_not_one() -> None:
    assert compare({"a": 1}, {"a": True}) == {("a",): UPDATE}


@pytest.mark.parametrize(
    ("ignored", "left"),
    [("spec", set()), ("spec.replicas", {("spec", "c", 0, "image")}), ("spec.c[*].image", {("spec", "replicas")})],
)
def test_ignored_paths_are_left_out(ignored: str, left: set[Path]) -> None:
    changes = {("spec", "replicas"): UPDATE, ("spec", "c", 0, "image"): UPDATE}
    assert set(without_ignored(changes, [ignored])) == left


def test_noise_is_what_the_server_makes_equal_again() -> None:
    old = {"cpu": "1", "kept": "x", "gone": "y"}
    changes: dict[Path, ChangeKind] = {("cpu",): UPDATE, ("image",): ADD, ("kept",): DELETE, ("gone",): DELETE, ("real",): UPDATE}
    result = {"cpu": "1", "image": "i", "real": "new"}
    assert set(without_noise(changes, old, result, {"kept": "x"})) == {("image",), ("gone",), ("real",)}
    assert set(without_noise(changes, old, result, {})) == {("image",), ("kept",), ("gone",), ("real",)}


@pytest.mark.parametrize(
    ("of", "path", "new", "settings", "replaces"),
    [
        (CONFIG_MAP, ("data", "a"), {}, Settings(), True),
        (CONFIG_MAP, ("metadata", "labels", "a"), {}, Settings(), False),
        (CONFIG_MAP, ("data", "a"), {}, Settings(config_map_mutable=True), False),
        (CONFIG_MAP, ("binaryData", "a"), {"immutable": True}, Settings(config_map_mutable=True), True),
        (SECRET, ("stringData", "a"), {}, Settings(), True),
        (SECRET, ("data", "a"), {}, Settings(secret_mutable=True), False),
        (SECRET, ("type",), {}, Settings(secret_mutable=True), True),
        (JOB, ("spec", "parallelism"), {}, Settings(), True),
        (JOB, ("spec", "suspend"), {}, Settings(), False),
        (POD, ("spec", "containers", 0, "image"), {}, Settings(), True),
        (POD, ("metadata", "name"), {}, Settings(), True),
        (POD, ("metadata", "namespace"), {}, Settings(), True),
        (POD, ("apiVersion",), {"apiVersion": "v2"}, Settings(), False),
        (POD, ("apiVersion",), {"apiVersion": "other/v1"}, Settings(), True),
    ],
)
def test_replaced_by_rule(of: Type, path: Path, new: dict[str, Any], settings: Settings, replaces: bool) -> None:
    old = {"apiVersion": "v1"}
    found = replaced_by_rule(of, {path: UPDATE}, old, {"apiVersion": "v1", **new}, settings)
    assert found == ({path} if replaces else set())


# Refusals as kube-apiserver 1.36 words them.
REFUSALS = {
    "selector": (
        {"field": "spec.selector", "message": 'Invalid value: {"matchLabels":{"app":"b"}}: field is immutable'},
        {("spec", "selector", "matchLabels", "app")},
    ),
    "statefulset": (
        {
            "field": "spec",
            "message": "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit' and 'minReadySeconds' are forbidden",
        },
        {("spec", "serviceName"), ("spec", "selector", "matchLabels", "app")},
    ),
    "claim": (
        {
            "field": "spec",
            "message": "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
            "bound claims\n  core.PersistentVolumeClaimSpec{",
        },
        {("spec", "serviceName"), ("spec", "replicas"), ("spec", "template", "x"), ("spec", "selector", "matchLabels", "app")},
    ),
    "volume": (
        {"field": "spec.persistentvolumesource", "message": "Forbidden: spec.persistentvolumesource is immutable after creation"},
        {("spec", "serviceName"), ("spec", "replicas"), ("spec", "template", "x"), ("spec", "selector", "matchLabels", "app")},
    ),
    "storage class": (
        {"field": "parameters", "message": "Forbidden: updates to parameters are forbidden."},
        {("parameters", "a")},
    ),
    "role": ({"field": "roleRef", "message": 'Invalid value: {"x":1}: cannot change roleRef'}, {("roleRef", "name")}),
    "cluster ip": (
        {"field": "spec.selector.matchLabels", "message": 'Invalid value: ["x"]: may not change once set'},
        {("spec", "selector", "matchLabels", "app")},
    ),
    "priority": ({"field": "value", "message": "Forbidden: may not be changed in an update."}, {("value",)}),
    "shrinking a claim is an error": (
        {"field": "spec.resources.requests.storage", "message": "Forbidden: field can not be less than status.capacity"},
        set(),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_replaced_by_refusal(name: str) -> None:
    cause, expected = REFUSALS[name]
    paths: list[Path] = [
        ("spec", "serviceName"),
        ("spec", "replicas"),
        ("spec", "template", "x"),
        ("spec", "selector", "matchLabels", "app"),
        ("metadata", "labels", "a"),
        ("parameters", "a"),
        ("roleRef", "name"),
        ("value",),
    ]
    assert replaced_by_refusal([cause], dict.fromkeys(paths, UPDATE)) == expected


def test_only_a_name_of_its_own_forces_deletion_first() -> None:
    named = {"metadata": {"name": "a", "namespace": "n"}}
    autonamed = {"metadata": {"name": "a", "namespace": "n", "annotations": {"pulumi.com/autonamed": "true"}}}
    elsewhere = {"metadata": {"name": "a", "namespace": "m"}}
    assert delete_before_replace(True, named, named)
    assert not delete_before_replace(False, named, named)
    assert not delete_before_replace(True, named, autonamed)
    assert not delete_before_replace(True, elsewhere, named)


def test_pruning_keeps_what_the_shape_names() -> None:
    live = {"kind": "X", "spec": {"a": 1, "b": 2}, "status": {}}
    assert prune(live, {"spec": {"a": 5}, "data": {}}) == {"spec": {"a": 1}}


def test_keyed_lists_are_paired_by_key_whatever_their_order() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"a"}': {}, 'k:{"name":"side"}': {}}, "f:args": {}}}
    live = {
        "metadata": {"managedFields": [{"fieldsV1": fields}]},
        "spec": {"containers": [{"name": "side"}, {"name": "a", "image": "i", "port": 1}], "args": ["x", "drift"]},
    }
    shape = {"spec": {"containers": [{"name": "a", "image": "j"}], "args": ["x"]}}
    assert prune(live, shape) == {"spec": {"containers": [{"name": "a", "image": "i"}], "args": ["x", "drift"]}}


def test_part_of_a_key_may_be_a_default() -> None:
    fields: dict[str, Any] = {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {}}}
    live = {
        "metadata": {"managedFields": [{"fieldsV1": fields}]},
        "ports": [{"containerPort": 80, "protocol": "TCP", "name": "n"}],
    }
    assert prune(live, {"ports": [{"containerPort": 80, "name": "x"}]}) == {"ports": [{"containerPort": 80, "name": "n"}]}


def test_of_a_set_only_our_items_count() -> None:
    live = {"metadata": {"managedFields": [{"fieldsV1": {"f:finalizers": {'v:"a"': {}}}}]}, "finalizers": ["theirs", "a"]}
    assert prune(live, {"finalizers": ["a", "lost"]}) == {"finalizers": ["a"]}


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2).filter(lambda key: key != "metadata"), JSON, max_size=4))
def test_an_object_in_its_own_shape_is_itself(obj: dict[str, Any]) -> None:
    assert prune(obj, obj) == obj


def test_what_only_others_have_set_is_theirs() -> None:
    def owned(*managers: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
        return {"metadata": {"managedFields": [{"manager": manager, "fieldsV1": fields} for manager in managers]}}

    path = ("spec", "replicas")
    assert set_by_others(owned("autoscaler"), path, "ours")
    assert not set_by_others(owned("autoscaler", "ours"), path, "ours")
    assert not set_by_others(owned(), path, "ours")
    assert not set_by_others(owned("autoscaler"), ("spec", "paused"), "ours")


def test_ignored_fields_are_applied_as_they_live() -> None:
    obj = {"spec": {"replicas": 1, "list": [{"a": 1}, {"a": 2}], "gone": 1}}
    live = {"spec": {"replicas": 5, "list": [{"a": 8}]}}
    assert with_live(obj, live, ("spec", "replicas"))["spec"]["replicas"] == 5
    assert with_live(obj, live, ("spec", "list", "*", "a"))["spec"]["list"] == [{"a": 8}, {"a": 2}]
    assert "gone" not in with_live(obj, live, ("spec", "gone"))["spec"]
    assert with_live(obj, {}, ("spec", "replicas")) == {"spec": {key: obj["spec"][key] for key in ("list", "gone")}}
    assert with_live(obj, live, ("other", "thing")) == obj
    assert with_live(obj, {"spec": {"other": {"x": 1}}}, ("spec", "other", "x"))["spec"]["other"] == {"x": 1}
