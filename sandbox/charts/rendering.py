"""The objects that a release of a chart makes, from what is known of the chart and the values it is given. Pure."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from planner.catalog import instance_types
from sandbox.charts import workloads
from sandbox.charts.workloads import Api, Claim, Container, Manifest, Workload, WorkloadChart

RELEASE = "meta.helm.sh/release-name"
NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotations by which Helm knows what is a release's; with them, what an operator makes is too."""
CONFIG_LABEL = "nvidia.com/device-plugin.config"
_NAMED = re.compile(r"\{([\w.]+)\}")
_INSTANCE_LABEL = "node.kubernetes.io/instance-type"


def objects(chart: str, of: WorkloadChart, release: str, namespace: str, values: Mapping[str, Any]) -> list[Manifest]:
    """What a release makes, in the order in which it is made."""
    return [obj for part in _parts(chart, of, release, namespace, values) for obj in part.objects()]


def awaited(chart: str, of: WorkloadChart, release: str, values: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(kind, name) of the workloads that the chart itself makes, which a release waits for."""
    return {found for part in _parts(chart, of, release, "", values) for found in part.awaited()}


def _parts(chart: str, of: WorkloadChart, release: str, namespace: str, values: Mapping[str, Any]) -> Iterator["_Rendering"]:
    """The chart and those that come with it."""
    part = _Rendering(chart, of, release, namespace, merged(of.defaults, values))
    yield part
    for name, sub in of.subcharts.items():
        if part.value(sub.when):
            yield from _parts(name, workloads.known(name)[sub.version], release, namespace, part.value(name) or {})


class _Rendering:
    """One chart of a release; values are the chart's defaults with the user's over them."""

    def __init__(self, chart: str, of: WorkloadChart, release: str, namespace: str, values: Mapping[str, Any]) -> None:
        self._of = of
        self._values = values
        name = values.get("nameOverride") or chart
        fullname = values.get("fullnameOverride") or (release if name in release else f"{release}-{name}")
        fullname = str(fullname)[: of.fullname_length].rstrip("-")
        self._names = {"release": release, "name": name, "fullname": fullname, "short": release.removeprefix("istio-")}
        self._namespace = namespace
        self._marks = {RELEASE: release, NAMESPACE: namespace}
        self._data: dict[str, str] = self.value(of.configurations.data) or {} if of.configurations else {}

    def objects(self) -> Iterator[Manifest]:
        if name := self.value(self._of.runtime_class):
            yield {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": self._metadata(name), "handler": name}
        if self._data and (name := self._config_map()):
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self._here(name), "data": self._data}
        for workload in self._of.workloads:
            if all(self.value(switch) for switch in workload.when):
                yield self._workload(workload)
        for api in self._of.apis:
            if self.value(api.when):
                yield from self._api(api)

    def awaited(self) -> Iterator[tuple[str, str]]:
        for workload in self._of.workloads:
            if workload.of == "chart":
                yield workload.kind, workload.name.format(**self._names)

    def value(self, path: str | None) -> Any:
        """The value at a path such as `image.tag`; None where there is none."""
        found: Any = self._values if path else None
        for step in (path or "").split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    def _workload(self, of: Workload) -> Manifest:
        labels = self._formatted(of.labels)
        spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": self._template(of, labels)}
        if (replicas := self.value(of.replicas)) is not None:
            spec["replicas"] = replicas
        if of.kind == "StatefulSet":
            spec |= {"serviceName": of.name.format(**self._names), "podManagementPolicy": "Parallel"}
        if of.claim and (claim := self._claim(of.claim)):
            spec |= claim
        metadata = self._here(of.name.format(**self._names), labels)
        return {"apiVersion": "apps/v1", "kind": of.kind, "metadata": metadata, "spec": spec}

    def _api(self, api: Api) -> Iterator[Manifest]:
        """Nothing runs in the pods: the Service leads to this machine, where a stand-in answers on a port that it fills in."""
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._here(api.service),
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": self._metadata(f"{api.version}.{api.group}"),
            "spec": {
                "group": api.group,
                "version": api.version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": api.service, "namespace": self._namespace},
            },
        }

    def _template(self, of: Workload, labels: Mapping[str, str]) -> dict[str, Any]:
        reads = self._config_map() if of.configured else None
        sidecars = [each for each in of.sidecars if all(self.value(switch) for switch in each.when)]
        pod: dict[str, Any] = {
            "containers": [self._container(each) for each in (of, *sidecars)],
            "automountServiceAccountToken": False,
        }
        self._give_host(of, pod)
        if reads:
            pod["containers"].append(self._config_manager(of))
            pod["volumes"].append({"name": "available-configs", "configMap": {"name": reads}})
        pod |= self._placement(of)
        if priority := self.value(of.priority):
            pod["priorityClassName"] = priority
        if runtime := self.value(of.runtime_class):
            pod["runtimeClassName"] = runtime
        if security := _security(self.value(of.pod_security)):
            pod["securityContext"] = security
        given = [self.value(path) or {} for path in of.given_labels]
        all_labels = {key: str(value) for each in given for key, value in each.items()}
        if self.value(of.release_label):
            all_labels["release"] = self._names["release"]
        metadata: dict[str, Any] = {"labels": {**all_labels, **self._formatted(of.pod_labels), **labels}}
        if reads and self._data:  # as in the chart: other configurations are another template
            metadata["annotations"] = {"checksum/config": hashlib.sha256(json.dumps(self._data).encode()).hexdigest()}
        return {"metadata": metadata, "spec": pod}

    def _give_host(self, of: Workload, pod: dict[str, Any]) -> None:
        """What pods have of their node: paths, network, processes."""
        paths = [{"name": f"host-{number}", "hostPath": {"path": path}} for number, path in enumerate(of.host_paths)]
        mounts = [{"name": f"host-{number}", "mountPath": path} for number, path in enumerate(of.host_paths)]
        pod["containers"][0]["volumeMounts"] = [*mounts, *(pod["containers"][0].get("volumeMounts") or [])]
        given = [_volume(volume) for path in of.volumes for volume in self.value(path) or []]
        ours = {volume["name"] for volume in given}
        pod["volumes"] = [*paths, *given]
        for container in pod["containers"]:  # what else a chart mounts comes from objects that are not made
            container["volumeMounts"] = [
                mount for mount in container.get("volumeMounts") or [] if mount["name"] in ours or mount in mounts
            ]
        if of.privileged:
            pod["containers"][0]["securityContext"] = {"privileged": True}
        if of.host_network is True or (of.host_network and self.value(of.host_network)):
            pod["hostNetwork"] = True
        if self.value(of.host_pid):
            pod["hostPID"] = True

    def _placement(self, of: Workload) -> dict[str, Any]:
        given = [(self.value(path) if path else self._values) or {} for path in of.placed]

        def first(field: str) -> Any:
            return next((found[field] for found in given if found.get(field)), None)

        found = {
            "nodeSelector": {**(first("nodeSelector") or {}), **of.selector},
            "affinity": self._instances(of) if of.instances else self._affinity(first("affinity")),
            "tolerations": [*of.tolerations, *(first("tolerations") or [])],
        }
        return {name: value for name, value in found.items() if value}

    def _affinity(self, given: Any) -> Any:
        """Charts write names of their own into it, as `{{ .Release.Name }}`."""
        text = json.dumps(given).replace("{{ .Release.Name }}", self._names["release"])
        return json.loads(text.replace('{{ include \\"loki.name\\" . }}', self._names["name"]))

    def _instances(self, of: Workload) -> dict[str, Any]:
        """An affinity for the instance types with EFA: those of the values, else those that the chart itself lists."""
        given = self._values.get("supportedInstanceLabels") or {}
        ours = sorted(name for name, found in instance_types().items() if found.efa and name not in of.instances_unknown)
        expressions = [
            {"key": key, "operator": "In", "values": given.get("values") or ours}
            for key in given.get("keys") or [_INSTANCE_LABEL]
        ]
        terms = [{"matchExpressions": [expression]} for expression in expressions]
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}

    def _container(self, of: Container) -> dict[str, Any]:
        container: dict[str, Any] = {"name": of.container, "image": self._image(of)}
        if of.command:
            container["command"] = list(of.command)
        given = {name: self.value(path) for name, path in of.env.items()}
        if env := [{"name": name, "value": str(value)} for name, value in given.items() if value is not None]:
            container["env"] = env
        if resources := self.value(of.resources):
            container["resources"] = resources
        if of.ports:
            container["ports"] = [{"containerPort": port} for port in of.ports]
        if security := _security(self._given(of.security)):
            container["securityContext"] = security
        if mounts := [mount for path in of.mounts for mount in self.value(path) or []]:
            container["volumeMounts"] = mounts
        return container

    def _claim(self, claim: Claim) -> dict[str, Any]:
        """What makes every pod have its volume; empty where the values want none."""
        if claim.when and not self.value(claim.when):
            return {}
        if claim.template:
            template = self.value(claim.template)
            if not template:
                return {}
            spec = template["spec"]
        else:
            given = self.value(claim.values) or {}
            spec = {"accessModes": given["accessModes"], "resources": {"requests": {"storage": given["size"]}}}
            if storage_class := given.get("storageClass"):
                spec["storageClassName"] = storage_class
        metadata = {"name": claim.name.format(**self._names)}
        made: dict[str, Any] = {"volumeClaimTemplates": [{"metadata": metadata, "spec": spec}]}
        decided = not claim.retention_when or self.value(claim.retention_when)
        retention = (self.value(claim.retention) if decided else None) or {}
        if kept := {key: retention[key] for key in ("whenDeleted", "whenScaled") if retention.get(key)}:
            made["persistentVolumeClaimRetentionPolicy"] = kept
        return made

    def _config_manager(self, of: Workload) -> dict[str, Any]:
        """The container that gives the agent beside it the configuration of its node."""
        default = self.value(self._of.configurations.default) if self._of.configurations else None
        env = {"NODE_LABEL": CONFIG_LABEL, "DEFAULT_CONFIG": default or ""}
        return {
            "name": "config-manager",
            "image": self._image(of),
            "command": ["config-manager"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "volumeMounts": [{"name": "available-configs", "mountPath": "/available-configs"}],
        }

    def _image(self, of: Container) -> str:
        given = self.value(of.image)
        if not isinstance(given, Mapping):
            return _NAMED.sub(lambda found: str(self.value(found[1])), of.image)
        path = "/".join(filter(None, (given.get("registry"), given["repository"], given.get("image"))))
        tag = f"{given.get('tag') or given['version']}{'-distroless' if given.get('distroless') else ''}"
        digest = str(given.get("digest") or given.get("sha") or "").removeprefix("sha256:")
        return f"{path}:{tag}@sha256:{digest}" if digest else f"{path}:{tag}"

    def _given(self, context: str | Mapping[str, Any] | None) -> Any:
        """A security context: the value of that path, or what is always there, where a path in braces stands for its value."""
        if not isinstance(context, Mapping):
            return self.value(context)
        return {key: found for key, value in context.items() if (found := self._filled_in(value)) is not None}

    def _filled_in(self, value: Any) -> Any:
        named = _NAMED.fullmatch(value) if isinstance(value, str) else None
        return self.value(named[1]) if named else value

    def _config_map(self) -> str | None:
        """The name of the ConfigMap that the agents read; None where they have no named configurations."""
        of = self._of.configurations
        if of is None:
            return None
        if of.existing and (existing := self.value(of.existing)):
            return str(existing)
        if "{" in of.name:
            return of.name.format(**self._names) if self._data else None
        return self.value(of.name) or None

    def _formatted(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {key: value.format(**self._names) for key, value in labels.items()}

    def _here(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {**self._metadata(name, labels), "namespace": self._namespace}

    def _metadata(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {
            "name": name,
            "labels": {**(labels or {}), "app.kubernetes.io/managed-by": "Helm"},
            "annotations": dict(self._marks),
        }


def merged(base: Any, over: Any) -> Any:
    """Values over values, as Helm merges them: maps by key, null takes a default away, everything else as a whole."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    return over


def _volume(given: Mapping[str, Any]) -> dict[str, Any]:
    """Some charts take the path alone."""
    path = given.get("hostPath")
    return {**given, "hostPath": {"path": path}} if isinstance(path, str) else dict(given)


def _security(context: Any) -> dict[str, Any]:
    """Some charts have a switch of their own among Kubernetes' fields."""
    return {key: value for key, value in (context or {}).items() if key != "enabled"}
