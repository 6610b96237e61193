"""The program somebody would have written by hand: one statement a resource, no components' code, no settings, no plan.

It is made from what the real program asked the engine for in a preview of a stack that is not there yet: the same resources with
the same inputs, in the classes of the same SDKs. A value that only creation tells comes from the resources it came from.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from pulumi import _types
from pulumi.runtime import rpc

Noted = Mapping[str, Any]
"""A RegisterResourceRequest as JSON, with the URN that the engine gave."""

_UNKNOWN = repr(rpc.UNKNOWN)
_STACK = "pulumi:pulumi:Stack"
_SDKS = {"aws": "pulumi_aws", "command": "pulumi_command", "kubernetes": "pulumi_kubernetes"}
_OBJECT = {"apiVersion": "api_version", "kind": "kind", "metadata": "metadata", "spec": "spec"}
_HEAD = '''
import pulumi


def unknown(*sources):
    """A value that only the creation of these tells."""
    return pulumi.Output.all(*[each.id for each in sources]).apply(lambda ids: ids[0])


def of(value, *sources):
    """A plain value that comes from these."""
    return pulumi.Output.all(*[each.urn for each in sources]).apply(lambda _: value)
'''


def flat(recorded: Sequence[Noted], *, components: bool) -> str:
    """Source of the program for what was recorded. Without `components` only what exists in a cluster or an account is in it,
    with no parents."""
    wanted = [noted for noted in recorded if noted["type"] != _STACK and (components or noted.get("custom"))]
    names = {noted["urn"]: f"r{number}" for number, noted in enumerate(wanted)}
    if not components:
        # Parents of different kinds tell apart what has one name.
        wanted = [dict(noted, name=f"{noted['name']}-{number}") for number, noted in enumerate(wanted)]
    modules: set[str] = set()
    wanted = _reduced(wanted)
    statements = [_statement(noted, names, modules.add, components=components) for noted in wanted]
    return "\n".join([_HEAD, *(f"import {module}" for module in sorted(modules)), "", *statements, ""])


def _reduced(recorded: Sequence[Noted]) -> list[Noted]:
    """What was recorded, without dependencies that follow from others: nobody would write those down."""
    before: dict[str, frozenset[str]] = {}
    found: list[Noted] = []
    for noted in recorded:
        all_of_it = noted.get("dependencies", [])
        implied = frozenset[str]().union(*(before.get(urn, frozenset()) for urn in all_of_it))
        needed = [urn for urn in all_of_it if urn in before and urn not in implied]
        before[noted["urn"]] = frozenset(all_of_it) | implied
        sources = {
            key: [urn for urn in value.get("urns", []) if urn in needed]
            for key, value in noted.get("propertyDependencies", {}).items()
        }
        # A value keeps one source at least, to be unknown as long as that one is.
        kept = {
            key: urns or [urn for urn in noted["propertyDependencies"][key].get("urns", []) if urn in before][-1:]
            for key, urns in sources.items()
        }
        found.append({**noted, "dependencies": needed, "propertyDependencies": kept})
    return found


def _statement(noted: Noted, names: Mapping[str, str], use: Callable[[str], None], *, components: bool) -> str:
    token, name, variable = noted["type"], noted["name"], names[noted["urn"]]
    options = f"pulumi.ResourceOptions({', '.join(_options(noted, names, components=components))})"
    if not noted.get("custom"):
        made = f"{variable} = pulumi.ComponentResource({token!r}, {name!r}, None, {options})"
        return f"{made}\n{variable}.register_outputs({{}})"
    inputs = dict(_inputs(noted, names))
    package, _, kind = token.split(":")
    if package == "pulumi":
        return f"{variable} = pulumi.ProviderResource({kind!r}, {name!r}, {_mapping(inputs)}, {options})"
    sdk = _SDKS[package]
    path, class_name = _registered(sdk).get(token, (None, ""))
    if path is None:  # an object of a definition that somebody brought
        use(f"{sdk}.apiextensions")
        given = [f"{python}={inputs[key]}" for key, python in _OBJECT.items() if key in inputs]
        return f"{variable} = {sdk}.apiextensions.CustomResource({', '.join([repr(name), *given, f'opts={options}'])})"
    use(path)
    properties = _types.resource_py_to_pulumi_names(getattr(import_module(path), class_name))
    # An input that is no property is one that the class gives by itself.
    given = [f"{python}={inputs[pulumi]}" for python, pulumi in properties.items() if pulumi in inputs]
    return f"{variable} = {path}.{class_name}({', '.join([repr(name), *given, f'opts={options}'])})"


def _registered(sdk: str) -> dict[str, tuple[str, str]]:
    """Module and class of an SDK's resources, by token."""
    import_module(sdk)
    found: dict[str, tuple[str, str]] = {}
    for modules in rpc._RESOURCE_MODULES.values():
        for module in modules:
            known: dict[str, Any] = getattr(module, "mod_info", {})
            found |= {token: (known["fqn"], name) for token, name in known.get("classes", {}).items()}
    return found


def _options(noted: Noted, names: Mapping[str, str], *, components: bool) -> Iterator[str]:
    if components and (parent := names.get(noted.get("parent", ""))):
        yield f"parent={parent}"
    if provider := names.get(noted.get("provider", "").rpartition("::")[0]):
        yield f"provider={provider}"
    implied = {urn for urns in noted["propertyDependencies"].values() for urn in urns}
    explicit = [names[urn] for urn in noted["dependencies"] if urn not in implied]
    if explicit:
        yield f"depends_on=[{', '.join(explicit)}]"
    for key, option in (("ignoreChanges", "ignore_changes"), ("replaceOnChanges", "replace_on_changes")):
        if noted.get(key):
            yield f"{option}={noted[key]!r}"
    for key, option in (("protect", "protect"), ("retainOnDelete", "retain_on_delete")):
        if noted.get(key):
            yield f"{option}=True"
    if limits := noted.get("customTimeouts"):
        yield f"custom_timeouts=pulumi.CustomTimeouts({', '.join(f'{key}={value!r}' for key, value in limits.items())})"
    if noted["type"].startswith("pulumi:providers:") and noted.get("version"):
        yield f"version={noted['version']!r}"


def _inputs(noted: Noted, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every input as an expression."""
    sources = {key: [names[urn] for urn in urns] for key, urns in noted["propertyDependencies"].items()}
    for key, value in noted.get("object", {}).items():
        of = sources.get(key, [])
        expression = _expression(value)
        if of and _UNKNOWN in expression:
            # The first comes from all, the others from one of them: together as little work as can be.
            expression = expression.replace(_UNKNOWN, f"unknown({', '.join(of)})", 1).replace(_UNKNOWN, f"unknown({of[0]})")
        elif of:
            expression = f"of({expression}, {', '.join(of)})"
        yield key, expression


def _expression(value: Any) -> str:
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return f"pulumi.Output.secret({_expression(value['value'])})"
        return _mapping({key: _expression(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return f"[{', '.join(_expression(inner) for inner in value)}]"
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(value)


def _mapping(entries: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in entries.items())}}}"
