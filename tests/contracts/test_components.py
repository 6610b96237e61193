"""What holds for every component, now and later: the tests find the classes themselves."""

import importlib
import inspect
import pkgutil
import typing
from collections import Counter

import pytest
from pulumi.provider.experimental.analyzer import Analyzer
from pydantic import BaseModel

import components
from components.base import PACKAGE, PlatformComponent
from components.names import AUTONAME_SUFFIX, DNS_LABEL_MAX
from tests.contracts.examples import EXAMPLES, build
from tests.recorder import Recording, record


def _modules() -> list[typing.Any]:
    found = pkgutil.walk_packages(components.__path__, "components.")
    return [importlib.import_module(module.name) for module in found]


COMPONENTS = sorted(
    {
        value
        for module in _modules()
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, PlatformComponent) and value is not PlatformComponent
    },
    key=lambda component: component.__name__,
)

TOKENS = {
    "AcceleratorExporter": "llm-platform:index:AcceleratorExporter",
    "AcceleratorSupport": "llm-platform:index:AcceleratorSupport",
    "Autoscaler": "llm-platform:index:Autoscaler",
    "AwsLoadBalancerController": "llm-platform:index:AwsLoadBalancerController",
    "BlockStorageClass": "llm-platform:index:BlockStorageClass",
    "CertManager": "llm-platform:index:CertManager",
    "ConfigSecret": "llm-platform:index:ConfigSecret",
    "DcgmExporter": "llm-platform:index:DcgmExporter",
    "EfaDevicePlugin": "llm-platform:index:EfaDevicePlugin",
    "EfsFileSystem": "llm-platform:index:EfsFileSystem",
    "EksCluster": "llm-platform:index:EksCluster",
    "EncryptionKey": "llm-platform:index:EncryptionKey",
    "EnvoyGatewayController": "llm-platform:index:EnvoyGatewayController",
    "ExistingCluster": "llm-platform:index:ExistingCluster",
    "ExternalSecret": "llm-platform:index:ExternalSecret",
    "ExternalSecretsOperator": "llm-platform:index:ExternalSecretsOperator",
    "Gateway": "llm-platform:index:Gateway",
    "GpuNodeGroup": "llm-platform:index:GpuNodeGroup",
    "ImagePrepull": "llm-platform:index:ImagePrepull",
    "ImagePull": "llm-platform:index:ImagePull",
    "IrsaRole": "llm-platform:index:IrsaRole",
    "IstioController": "llm-platform:index:IstioController",
    "IstioIngress": "llm-platform:index:IstioIngress",
    "K3sCluster": "llm-platform:index:K3sCluster",
    "Karpenter": "llm-platform:index:Karpenter",
    "KedaController": "llm-platform:index:KedaController",
    "KubeRayOperator": "llm-platform:index:KubeRayOperator",
    "KubeStateMetrics": "llm-platform:index:KubeStateMetrics",
    "LeaderWorkerSetController": "llm-platform:index:LeaderWorkerSetController",
    "LlmApp": "llm-platform:index:LlmApp",
    "LogCollector": "llm-platform:index:LogCollector",
    "LogStore": "llm-platform:index:LogStore",
    "LustreFileSystem": "llm-platform:index:LustreFileSystem",
    "Mesh": "llm-platform:index:Mesh",
    "MetricsServer": "llm-platform:index:MetricsServer",
    "ModelBucket": "llm-platform:index:ModelBucket",
    "ModelBucketAccess": "llm-platform:index:ModelBucketAccess",
    "ModelCache": "llm-platform:index:ModelCache",
    "ModelDownload": "llm-platform:index:ModelDownload",
    "ModelServer": "llm-platform:index:ModelServer",
    "ModelVerification": "llm-platform:index:ModelVerification",
    "MonitoringStack": "llm-platform:index:MonitoringStack",
    "Namespace": "llm-platform:index:Namespace",
    "Network": "llm-platform:index:Network",
    "NetworkPolicySet": "llm-platform:index:NetworkPolicySet",
    "NodeExporter": "llm-platform:index:NodeExporter",
    "PodIdentity": "llm-platform:index:PodIdentity",
    "PriorityClasses": "llm-platform:index:PriorityClasses",
    "PrivateCa": "llm-platform:index:PrivateCa",
    "Route": "llm-platform:index:Route",
    "SealedSecret": "llm-platform:index:SealedSecret",
    "SealedSecretsController": "llm-platform:index:SealedSecretsController",
    "SecretStore": "llm-platform:index:SecretStore",
    "SmokeTest": "llm-platform:index:SmokeTest",
    "SystemNodeGroup": "llm-platform:index:SystemNodeGroup",
    "Tenant": "llm-platform:index:Tenant",
    "TgiServer": "llm-platform:index:TgiServer",
}
"""Every token ever deployed. It is part of every child's URN: change one only together with an alias."""

_VALIDATED = (
    *("_Config", "ServerConfig", "K3sSettings", "GatewayConfig", "IngressConfig", "AppConfig", "TrafficControllerConfig"),
)
"""How models of arguments are called; where a module has several, the first is the component's."""

every_component = pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.__name__)


def _record(component: type[PlatformComponent], name: str = "example") -> Recording:
    return record(lambda: build(component, name))


def _own(recording: Recording, component: type[PlatformComponent]) -> str:
    return recording.one(f"{PACKAGE}:index:{component.__name__}").urn


def test_every_component_has_an_example_and_a_recorded_token() -> None:
    assert {c.__name__ for c in COMPONENTS} == {c.__name__ for c in EXAMPLES} == set(TOKENS)


@every_component
def test_token(component: type[PlatformComponent]) -> None:
    assert _record(component).one(TOKENS[component.__name__]).name == "example"


@every_component
def test_every_child_has_its_component_for_a_parent(component: type[PlatformComponent]) -> None:
    recording = _record(component)
    own = _own(recording, component)
    parents = {own}
    for resource in recording.resources:
        if resource.type in TOKENS.values() and resource.parent in parents:
            parents.add(resource.urn)  # a nested component, parent of what it makes itself
    children = [
        r
        for r in recording.resources
        if r.on_kubernetes or r.on_aws or r.on_hosts or (r.type in TOKENS.values() and r.urn != own)
    ]
    assert [child.urn for child in children if child.parent not in parents] == []
    assert parents - {own} <= {child.parent for child in children}, "a nested component made nothing under itself"


@every_component
def test_no_child_falls_back_to_a_default_provider(component: type[PlatformComponent]) -> None:
    recording = _record(component)
    cluster = recording.one("pulumi:providers:kubernetes").urn
    strays = [r.urn for r in recording.resources if r.on_kubernetes and not r.provider.startswith(cluster)]
    assert strays == []


@every_component
def test_every_object_carries_the_recommended_labels(component: type[PlatformComponent]) -> None:
    wanted = {"app.kubernetes.io/part-of": PACKAGE, "app.kubernetes.io/managed-by": "pulumi"}
    keys = {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
    for resource in _record(component).resources:
        # A release is no object, and a patch is of an object of others.
        own = resource.on_kubernetes and not resource.type.endswith("Patch")
        if own and resource.type != "kubernetes:helm.sh/v3:Release":
            found = resource.inputs["metadata"]["labels"]
            assert wanted.items() <= found.items(), resource.urn
            assert keys <= found.keys(), resource.urn


@every_component
def test_outputs_are_registered_once_and_last(component: type[PlatformComponent]) -> None:
    recording = _record(component)
    own = _own(recording, component)
    assert Counter(urn for urn, _ in recording.outputs)[own] == 1
    after = recording.events[recording.events.index(("outputs", own)) + 1 :]
    assert ("resource", own) not in after


@every_component
def test_registered_outputs_are_the_annotated_ones(component: type[PlatformComponent]) -> None:
    recording = _record(component)
    registered = dict(recording.outputs)[_own(recording, component)]
    declared = {name for name in inspect.get_annotations(component) if not name.startswith("_")}
    assert {name.replace("_", "").lower() for name in declared} == {name.lower() for name in registered}
    assert declared, "a component that yields nothing cannot be composed"


@every_component
def test_children_of_the_longest_name_stay_within_the_limits_and_apart(component: type[PlatformComponent]) -> None:
    names = []
    for suffix in "ab":  # two names that differ only where they are cut
        recording = _record(component, "m" * 80 + suffix)
        names += [(r.type, r.name) for r in recording.resources if r.on_kubernetes]
    assert all(len(name) <= DNS_LABEL_MAX - AUTONAME_SUFFIX for _, name in names)
    assert len(set(names)) == len(names)


@every_component
def test_public_arguments_are_the_validated_ones(component: type[PlatformComponent]) -> None:
    module = inspect.getmodule(component)
    arguments = inspect.signature(component.__init__).parameters["args"].annotation
    models = {name: value for name, value in inspect.getmembers(module, inspect.isclass) if issubclass(value, BaseModel)}
    model = next(models[name] for name in _VALIDATED if name in models)
    assert set(arguments.__annotations__) == set(model.model_fields)
    assert arguments.__optional_keys__ == {name for name, field in model.model_fields.items() if not field.is_required()}


def test_the_packaged_schema_can_describe_every_component() -> None:
    described = Analyzer(PACKAGE).analyze(components=list(COMPONENTS))["component_definitions"]
    assert set(described) == set(TOKENS)
    for name, definition in described.items():
        assert definition.inputs, f"{name} has no inputs in the schema"


@every_component
def test_no_child_on_aws_falls_back_to_a_default_provider(component: type[PlatformComponent]) -> None:
    recording = _record(component)
    provider = recording.one("pulumi:providers:aws").urn
    strays = [r.urn for r in recording.resources if r.on_aws and not r.provider.startswith(provider)]
    assert strays == []


@every_component
def test_names_on_aws_stay_within_the_limits_and_apart(component: type[PlatformComponent]) -> None:
    names = []
    for suffix in "ab":
        recording = _record(component, "m" * 80 + suffix)
        names += [(r.type, r.name) for r in recording.resources if r.on_aws]
    # Buckets and node groups have the shortest limit, 63; the provider appends a dash and seven digits.
    assert all(len(name) <= 63 - 8 for _, name in names)
    assert len(set(names)) == len(names)
