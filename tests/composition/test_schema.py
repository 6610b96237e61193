"""The interface that programs in other languages see: a change of it is a change of schema.json, and the examples keep to it."""

import copy
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

import components
from components.base import PACKAGE, PlatformComponent
from plugin.exported import COMPONENTS
from plugin.provider import schema as described
from tests.composition.yaml_checks import faults
from tests.conftest import ROOT

Template = dict[str, Any]


def _found() -> set[type[PlatformComponent]]:
    modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(components.__path__, "components.")]
    classes = {value for module in modules for _, value in inspect.getmembers(module, inspect.isclass)}
    return {each for each in classes if issubclass(each, PlatformComponent) and each is not PlatformComponent}


def test_the_committed_schema_is_that_of_the_components() -> None:
    committed = (ROOT / "plugin/schema.json").read_text()
    remedy = "the public interface changed; review that, and run `python -m plugin.provider >plugin/schema.json`"
    assert described() == committed, remedy


def test_every_component_is_exported_or_left_out_on_purpose() -> None:
    left_out = {each.__name__ for each in _found() - set(COMPONENTS)}
    assert left_out == {"ExistingCluster"}
    assert len(COMPONENTS) == len(set(COMPONENTS))


def test_every_input_and_output_is_described(schema: dict[str, Any]) -> None:
    undescribed = [
        f"{owner}.{name}"
        for owner, each in (schema["resources"] | schema["types"]).items()
        for kind in ("inputProperties", "properties")
        for name, of in each.get(kind, {}).items()
        if not of.get("description")
    ]
    assert undescribed == []


def test_every_component_and_its_arguments_are_public_names() -> None:
    """`from llm_platform.<folder> import …` is what docs/composition.md promises to keep."""
    missing = []
    for component in _found():
        arguments = inspect.signature(component.__init__).parameters["args"].annotation
        package = importlib.import_module(component.__module__.rpartition(".")[0])
        names = {component.__name__, arguments.__name__}
        missing += [f"{package.__name__}.{name}" for name in names - set(package.__all__)]
    assert sorted(missing) == []


@pytest.fixture(name="template")
def template_fixture() -> Template:
    return yaml.safe_load((ROOT / "examples/yaml/Pulumi.yaml").read_text())  # type: ignore[no-any-return]


def test_the_program_in_yaml_keeps_to_the_schema(template: Template, schema: dict[str, Any]) -> None:
    assert list(faults(template, schema)) == []


def _change(path: str, value: object) -> Callable[[Template], None]:
    *above, last = path.split(".")

    def change(template: Template) -> None:
        place = template["resources"]
        for key in above:
            place = place[key]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_change("qwen.type", "llm-platform:ModelServr"), "qwen: llm-platform:ModelServr is no type of the package"),
        (_change("qwen.properties.maxModelLength", 1), "qwen: Additional properties are not allowed ('maxModelLength'"),
        (_change("qwen.properties", {"modelName": "qwen"}), "qwen: 'maxModelLen' is a required property"),
        (_change("qwen.properties.weightsGib", "5.2"), "qwen.weightsGib: '5.2' is not of type 'number'"),
        (_change("room.properties.level", "strict"), "room.level: 'strict' is not one of ['restricted',"),
        # What decides which objects there are cannot wait for a deployment.
        (_change("qwen.properties.modelName", "${room.namespaceName}"), "qwen.modelName: {'an output of type': 'string'}"),
        (_change("qwen.properties.claimName", "${doors.policyNames}"), "qwen.claimName: {'an output of type': 'object'}"),
    ],
)
def test_what_does_not_is_found(
    change: Callable[[Template], None], fault: str, template: Template, schema: dict[str, Any]
) -> None:
    changed = copy.deepcopy(template)
    change(changed)
    assert any(each.startswith(fault) for each in faults(changed, schema)), list(faults(changed, schema))


def test_the_classes_in_typescript_have_names_of_the_schema(schema: dict[str, Any]) -> None:
    source = (ROOT / "examples/typescript/sdks/llm-platform/index.ts").read_text()
    blocks = re.findall(r"export (interface|class) (\w+)[^{]*\{(.*?)\n\}", source, re.DOTALL)
    assert len(blocks) > 10
    for kind, name, body in blocks:
        if kind == "class":
            allowed = schema["resources"][f"{PACKAGE}:index:{name}"]["properties"]
            assert set(re.findall(r"readonly (\w+):", body)) <= set(allowed), name
            continue
        resource = schema["resources"].get(f"{PACKAGE}:index:{name.removesuffix('Args')}")
        of = {"properties": resource["inputProperties"], "required": resource["requiredInputs"]} if resource else None
        of = of or schema["types"][f"{PACKAGE}:index:{name}"]
        written = dict(re.findall(r"^    (\w+)(\??):", body, re.MULTILINE))
        assert set(written) <= set(of["properties"]), name
        assert {key for key, optional in written.items() if not optional} == set(of.get("required", [])), name
