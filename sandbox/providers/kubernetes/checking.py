"""Inputs on their way in: defaults, names, and what the API server's own validation says about them."""

from sandbox.providers.contract import Checked, ProviderError, Request
from sandbox.providers.kubernetes import refusals
from sandbox.providers.kubernetes.client import ApiError, Kind, UnreachableError
from sandbox.providers.kubernetes.context import Context, scoped
from sandbox.providers.kubernetes.objects import (
    AUTONAMED,
    Object,
    Type,
    autoname,
    carried_secrets,
    dashed,
    is_true,
    metadata,
    name_of,
    namespace_of,
    type_of,
    with_annotation,
    with_metadata,
    without_server_metadata,
)
from sandbox.providers.properties import UNKNOWN, Properties, has_unknown

# Only asked when the cluster cannot be: kinds of Kubernetes itself that live in no namespace.
_CLUSTER_SCOPED = frozenset(
    (
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
        "GatewayClass",
    )
)


async def check(context: Context, request: Request) -> Checked:
    """The inputs as they will be used, and what is wrong with them.

    Raises:
        ProviderError: the resource cannot be declared this way at all.
    """
    old = request.old_inputs.values
    of = type_of(request.inputs.values, request.type)
    if of.kind.endswith("List") and "items" in request.inputs.values:
        raise ProviderError(f"{of.kind} is a list: declare its items one by one")
    kind = None
    try:
        kind = await context.cluster.kind(of)
    except UnreachableError as error:
        if context.settings.skip_update_unreachable and old:
            message = f"{error}; its resources are left as they are (skipUpdateUnreachable)"
            await context.warn_once(request.urn, message)
            return Checked(request.old_inputs)
    inputs = named({"apiVersion": of.api_version, "kind": of.kind, **request.inputs.values}, old, request)
    placed = isinstance(inputs.get("metadata"), dict) and "namespace" not in inputs["metadata"]
    if placed and is_namespaced(kind, of, old):
        inputs = with_metadata(inputs, namespace=await context.default_namespace())
    checked = Properties(inputs, carried_secrets(inputs, request.inputs.secrets))
    if kind is None or of.patch or has_unknown(inputs) or inputs == old:
        return Checked(checked)
    try:
        found = await problems(context, kind, scoped(kind, dashed(without_server_metadata(inputs))))
    except UnreachableError:
        return Checked(checked)
    return Checked(checked, tuple(found))


def is_namespaced(kind: Kind | None, of: Type, old: Object) -> bool:
    """Whether objects of a type live in a namespace; a guess where the cluster does not say."""
    if kind is not None:
        return kind.namespaced
    if old:
        return bool(namespace_of(old))
    return of.kind not in _CLUSTER_SCOPED


def named(inputs: Object, old: Object, request: Request) -> Object:
    """The inputs with a name: their own, the one they were given before, or a new one.

    Raises:
        ProviderError: they ask for what server-side apply cannot do, or naming is switched off.
    """
    meta = inputs.get("metadata")
    if meta is UNKNOWN:
        return inputs
    if metadata(inputs).get("generateName"):
        raise ProviderError("metadata.generateName is not supported with server-side apply; leave the name out to have one made")
    if metadata(inputs).get("name"):
        return inputs
    if is_true(old, AUTONAMED):
        return with_annotation(with_metadata(inputs, name=name_of(old)), AUTONAMED, "true")
    if not request.autonaming:
        raise ProviderError("metadata.name is missing, and automatic naming is switched off for this resource")
    name = request.proposed_name or autoname(request.name, request.seed)
    return with_annotation(with_metadata(inputs, name=name), AUTONAMED, "true")


async def problems(context: Context, kind: Kind, obj: Object) -> list[tuple[str, str]]:
    """What the API server has against an object, as (field, reason): a creation it validates and does not carry out.

    An object whose namespace is still to be made is tried in `default`. Refusals that are not about the object itself
    (it exists, a quota, a missing permission) are left to the operation that meets them.
    """
    try:
        namespace = namespace_of(obj)
        if namespace and kind.namespaced and not await context.has_namespace(namespace):
            obj, namespace = with_metadata(obj, namespace="default"), "default"
        await context.cluster.try_create(kind, obj, namespace)
    except ApiError as error:
        return refusals.failures(error)
    return []
