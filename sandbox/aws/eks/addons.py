"""Managed add-ons of a cluster."""

import json
import re
import uuid
from typing import Any

from sandbox.aws.eks import addon_catalog as catalog
from sandbox.aws.eks import versions
from sandbox.aws.eks.errors import in_use, invalid_parameter, not_found
from sandbox.aws.eks.pod_identity import associate, dissociate
from sandbox.aws.eks.store import SETTLE_S, Cluster, Store, Update, new_update, now
from sandbox.aws.eks.wire import Parameters
from sandbox.control_plane import nodes
from sandbox.errors import SandboxError

_REPLICAS_S = 10 * SETTLE_S
"""How long an add-on stays CREATING while its pods find no node; EKS waits 20 minutes."""

_TOLERATED = {"CriticalAddonsOnly"}
_KEPT = ("serviceAccountRoleArn", "configurationValues")


class Addons:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_addon(self, parameters: Parameters) -> Parameters:
        """Checks what EKS checks at once, and makes it work in a while."""
        store, cluster = self._store, self._store.active_cluster(parameters["clusterName"])
        kind = catalog.kind(parameters["addonName"], cluster.name)
        if kind.name in cluster.addons:
            raise in_use("Addon already exists.", clusterName=cluster.name, addonName=kind.name)
        kubernetes = cluster.shape["version"]
        version = parameters.get("addonVersion", catalog.addon_versions(kubernetes)[-1])
        self._check(kind, parameters | {"addonVersion": version}, kubernetes)
        moment = now()
        shape: dict[str, Any] = {
            "addonName": kind.name,
            "clusterName": cluster.name,
            "status": "CREATING",
            "addonVersion": version,
            "health": {"issues": []},
            "addonArn": store.arn("addon", cluster.name, kind.name, str(uuid.uuid4())),
            "createdAt": moment,
            "modifiedAt": moment,
            "tags": parameters.get("tags", {}),
            "namespaceConfig": parameters.get("namespaceConfig") or {"namespace": kind.namespace},
            **kind.publisher,
            **{member: parameters[member] for member in _KEPT if member in parameters},
        }
        cluster.addons[kind.name] = shape
        self._associate(cluster, shape, parameters)
        conflicting = cluster.self_managed and kind.self_managed and parameters.get("resolveConflicts", "NONE") != "OVERWRITE"
        store.later(lambda: self._finish_creation(cluster, shape, conflicting))
        return {"addon": shape}

    def describe_addon(self, parameters: Parameters) -> Parameters:
        """One add-on, with its health of this moment."""
        cluster, shape = self._addon(parameters)
        if shape["status"] in ("ACTIVE", "DEGRADED"):
            _judge(cluster, shape)
        return {"addon": shape}

    def list_addons(self, parameters: Parameters) -> Parameters:
        """The names of all of a cluster."""
        return {"addons": sorted(self._store.cluster(parameters["clusterName"]).addons)}

    def update_addon(self, parameters: Parameters) -> Parameters:
        """Another version or configuration; what is not given stays, as EKS has it."""
        store = self._store
        cluster, shape = self._addon(parameters)
        if shape["status"] in ("CREATING", "UPDATING", "DELETING"):
            raise in_use(
                f"Addon {shape['addonName']} is {shape['status']}; wait until that is over.", addonName=shape["addonName"]
            )
        kind = catalog.kind(shape["addonName"], cluster.name)
        self._check(kind, {"addonVersion": shape["addonVersion"]} | parameters, cluster.shape["version"])
        changes = {member: parameters[member] for member in ("addonVersion", *_KEPT) if member in parameters}
        told = {member[0].upper() + member[1:]: value for member, value in changes.items()}
        if "podIdentityAssociations" in parameters:
            dissociate(cluster, shape["addonArn"])
            self._associate(cluster, shape, parameters)
            told["PodIdentityAssociations"] = json.dumps(shape.get("podIdentityAssociations", []))
        update = new_update(cluster, "AddonUpdate", told, addon=shape["addonName"])
        shape["status"] = "UPDATING"
        store.later(lambda: self._finish_update(cluster, shape, changes, update))
        return {"update": update.shape}

    def delete_addon(self, parameters: Parameters) -> Parameters:
        """Gone in a while, with the Pod Identity associations made through it."""
        store = self._store
        cluster, shape = self._addon(parameters)
        shape["status"] = "DELETING"
        store.later(lambda: self._finish_deletion(cluster, shape))
        return {"addon": shape}

    def describe_addon_versions(self, parameters: Parameters) -> Parameters:
        """What goes with which Kubernetes version."""
        wanted = parameters.get("kubernetesVersion")
        offered = [wanted] if wanted else list(reversed(versions.versions()))
        found = [
            kind
            for kind in catalog.kinds().values()
            if parameters.get("addonName", kind.name) == kind.name
            and kind.type in parameters.get("types", [kind.type])
            and kind.publisher["publisher"] in parameters.get("publishers", [kind.publisher["publisher"]])
            and kind.publisher["owner"] in parameters.get("owners", [kind.publisher["owner"]])
        ]
        return {"addons": [_described(kind, offered) for kind in found]}

    def describe_addon_configuration(self, parameters: Parameters) -> Parameters:
        """What its configuration may be, and which service account wants which policies."""
        kind = catalog.kind(parameters["addonName"], "")
        policies = [f"arn:aws:iam::aws:policy/{policy}" for policy in kind.policies]
        identity = (
            [{"serviceAccount": kind.service_account, "recommendedManagedPolicies": policies}] if kind.service_account else []
        )
        return {
            "addonName": kind.name,
            "addonVersion": parameters["addonVersion"],
            "configurationSchema": json.dumps(catalog.schema(kind)),
            "podIdentityConfiguration": identity,
        }

    def _check(self, kind: catalog.AddonKind, parameters: Parameters, kubernetes: str) -> None:
        catalog.check_version(kind, parameters["addonVersion"], kubernetes)
        if "configurationValues" in parameters:
            catalog.check_configuration(kind, parameters["configurationValues"])
        role = parameters.get("serviceAccountRoleArn")
        if role and self._store.world.role(role) is None:
            raise invalid_parameter(f"The serviceAccountRoleArn {role} does not exist")
        namespace = parameters.get("namespaceConfig", {}).get("namespace", kind.namespace)
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", namespace):
            raise invalid_parameter(f"The namespace {namespace} is no name of a Kubernetes namespace")
        for association in parameters.get("podIdentityAssociations", []):
            self._store.world.require_role(association["roleArn"], "pods.eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession"))

    def _associate(self, cluster: Cluster, shape: dict[str, Any], parameters: Parameters) -> None:
        made = [
            associate(self._store, cluster, association | shape["namespaceConfig"], owner=shape["addonArn"])["associationArn"]
            for association in parameters.get("podIdentityAssociations", [])
        ]
        shape.pop("podIdentityAssociations", None)
        if made:
            shape["podIdentityAssociations"] = made

    def _addon(self, parameters: Parameters) -> tuple[Cluster, dict[str, Any]]:
        cluster, name = self._store.cluster(parameters["clusterName"]), parameters["addonName"]
        if name not in cluster.addons:
            raise not_found(f"No addon: {name} found in cluster: {cluster.name}", clusterName=cluster.name, addonName=name)
        return cluster, cluster.addons[name]

    def _finish_creation(self, cluster: Cluster, shape: dict[str, Any], conflicting: bool) -> None:
        store = self._store
        if conflicting:
            with store.lock:
                issue = {
                    "code": "ConfigurationConflict",
                    "message": "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode.",
                    "resourceIds": [],
                }
                shape |= {"status": "CREATE_FAILED", "health": {"issues": [issue]}}
            return
        self._wait_for_nodes(cluster, shape)
        with store.lock:
            if shape["status"] == "CREATING":
                _judge(cluster, shape)

    def _finish_update(self, cluster: Cluster, shape: dict[str, Any], changes: dict[str, Any], update: Update) -> None:
        with self._store.lock:
            shape |= changes | {"modifiedAt": now()}
            _judge(cluster, shape)
            update.shape["status"] = "Successful"

    def _finish_deletion(self, cluster: Cluster, shape: dict[str, Any]) -> None:
        with self._store.lock:
            dissociate(cluster, shape["addonArn"])
            del cluster.addons[shape["addonName"]]

    def _wait_for_nodes(self, cluster: Cluster, shape: dict[str, Any]) -> None:
        """Until its pods can run, as long as nodes are still coming and a little longer."""
        coming = True
        while coming and not self._store.wait_until(lambda: _can_run(cluster, shape), _REPLICAS_S):
            coming = any(group.shape["status"] == "CREATING" for group in cluster.nodegroups.values())


def is_active(cluster: Cluster, name: str) -> bool:
    """Whether an add-on works."""
    return name in cluster.addons and cluster.addons[name]["status"] in ("ACTIVE", "UPDATING")


def _judge(cluster: Cluster, shape: dict[str, Any]) -> None:
    """Sets the status to what the cluster allows now."""
    healthy = _can_run(cluster, shape)
    issue = {
        "code": "InsufficientNumberOfReplicas",
        "message": "The add-on is unhealthy because it doesn't have the desired number of replicas.",
        "resourceIds": [],
    }
    shape |= {"status": "ACTIVE" if healthy else "DEGRADED", "health": {"issues": [] if healthy else [issue]}}


def _can_run(cluster: Cluster, shape: dict[str, Any]) -> bool:
    """Whether its pods have a node: DaemonSets are content without, Auto Mode makes one when needed."""
    if not catalog.kinds()[shape["addonName"]].needs_nodes or cluster.is_automatic:
        return True
    values = json.loads(shape.get("configurationValues", "{}"))
    tolerations = [*values.get("tolerations", []), *values.get("controller", {}).get("tolerations", [])]
    try:
        with cluster.plane.connect() as api:
            return any(nodes.is_ready(node) and _is_tolerable(node, tolerations) for node in nodes.simulated(api))
    except SandboxError:
        return False


def _is_tolerable(node: dict[str, Any], tolerations: list[dict[str, Any]]) -> bool:
    tolerated = _TOLERATED | {toleration.get("key") for toleration in tolerations}
    keys = {taint["key"] for taint in node["spec"].get("taints", []) if taint["effect"] != "PreferNoSchedule"}
    return None in tolerated or keys <= tolerated


def _described(kind: catalog.AddonKind, offered: list[str]) -> dict[str, Any]:
    listed = [(version, kubernetes) for kubernetes in offered for version in catalog.addon_versions(kubernetes)]
    return {
        "addonName": kind.name,
        "type": kind.type,
        **kind.publisher,
        "defaultNamespace": kind.namespace,
        "addonVersions": [
            {
                "addonVersion": version,
                "architecture": ["amd64", "arm64"],
                "computeTypes": ["ec2", "auto", "hybrid"],
                "compatibilities": [
                    {
                        "clusterVersion": kubernetes,
                        "platformVersions": ["*"],
                        "defaultVersion": version == catalog.addon_versions(kubernetes)[-1],
                    }
                ],
                "requiresConfiguration": False,
                "requiresIamPermissions": bool(kind.policies),
            }
            for version, kubernetes in listed
        ],
    }
