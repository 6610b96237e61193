"""The provider behind the plugin: Pulumi's own for components in Python, where it does two things otherwise than suits them.

It drops inputs that the schema does not know, so nobody would be told of a misspelt key, and it wraps what a constructor raises,
so a refusal would come with a traceback (pulumi/pulumi, sdk/python/lib/pulumi/provider/experimental/component.py). Its
`component_provider_host` serves no provider but that one, so what it does is done here: `main` with the list of components.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, is_typeddict

import pulumi
from pulumi.errors import InputPropertiesError
from pulumi.provider import ConstructResult, main
from pulumi.provider.experimental.analyzer import ComponentDefinition, PropertyDefinition
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.schema import generate_schema
from pulumi.provider.server import ComponentInitError

from components import __version__
from components.base import PACKAGE

from .exported import COMPONENTS


class PlatformProvider(ComponentProvider):
    """Makes the components the engine asks for."""

    def __init__(self) -> None:
        super().__init__(COMPONENTS, PACKAGE, version=__version__)
        for name, component in self._component_defs.items():
            arguments = inspect.get_annotations(self._components[name].__init__)["args"]
            self._describe(arguments, component.inputs, component.inputs_mapping)
        for of in self._type_defs.values():
            self._describe(of.python_type, of.properties, of.properties_mapping)
        described = generate_schema(PACKAGE, __version__, None, self._component_defs, self._type_defs, self._dependencies)
        self.schema = json.dumps(_dedented(described.to_json()))

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """The component, or an error whose text is the component's own sentence."""
        try:
            return super().construct(name, resource_type, inputs, options)
        except ComponentInitError as error:
            if isinstance(error.inner, pulumi.RunError):
                # Without a list the SDK fails over its own answer (sdk/python/lib/pulumi/provider/server.py).
                raise InputPropertiesError(str(error.inner), []) from None
            raise

    def map_inputs(self, inputs: pulumi.Inputs, component_def: ComponentDefinition) -> pulumi.Inputs:  # noqa: ARG002 - theirs
        """The inputs with the keys of the schema: every component validates them with a model that takes those as well."""
        return {key: whole(value) for key, value in inputs.items()}

    def _describe(self, owner: type, properties: Mapping[str, PropertyDefinition], names: Mapping[str, str]) -> None:
        """Fills in what the analyser does not find: the docstrings of inherited properties."""
        for base in _bases(owner):
            for key, of in properties.items():
                of.description = of.description or self.analyzer.get_docstring(base, names[key])
            self._describe(base, properties, names)


def _bases(arguments: type) -> Iterator[type]:
    """The TypedDicts that one inherits from, read from its source: Python 3.11 forgets them."""
    if not is_typeddict(arguments):
        return
    (definition,) = ast.parse(inspect.getsource(arguments)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - it is one
    for base in definition.bases:
        found = getattr(sys.modules[arguments.__module__], ast.unparse(base), None)
        if isinstance(found, type) and is_typeddict(found):
            yield found


def whole(value: Any) -> Any:
    """`value` with whole numbers as such: on the wire between engine and plugin all numbers are floating."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole(each) for each in value]
    return value


def schema() -> str:
    """The schema of the package, as schema.json has it."""
    return json.dumps(json.loads(PlatformProvider().schema or "{}"), indent=2) + "\n"


def host(arguments: list[str]) -> None:
    """Serves the engine until it ends."""
    main(PlatformProvider(), arguments)


def _dedented(described: Any) -> Any:
    """A schema whose descriptions are without the indentation that docstrings have in their source."""
    if isinstance(described, dict):
        return {
            key: inspect.cleandoc(each) if key == "description" and isinstance(each, str) else _dedented(each)
            for key, each in described.items()
        }
    return [_dedented(each) for each in described] if isinstance(described, list) else described


if __name__ == "__main__":
    sys.stdout.write(schema())
