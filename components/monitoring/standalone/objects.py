"""The objects that the programs of the monitoring stack are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from ...base import PlatformComponent, selector
from ...ordering import known_after
from ..programs import program_labels
from .pods import Placing, Program, claim_spec, pod_template, service_spec

Volume = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A volume of a pod, and how its container mounts it."""
_RBAC = "rbac.authorization.k8s.io"
_TIMEOUT = 900
"""Seconds; an image has to come, and a full write-ahead log be read again."""


class Objects:
    """Makes them for one component, under names that stay: a changed rule is then a changed object and no other one."""

    def __init__(
        self,
        owner: PlatformComponent,
        *,
        namespace_name: pulumi.Input[str],
        placing: Placing,
        pull_secrets: Sequence[pulumi.Input[str]],
    ) -> None:
        self._owner = owner
        self._namespace_name = namespace_name
        self._placing = placing
        self._pull_secrets = pull_secrets

    def metadata(
        self,
        program: str,
        name: str | None = None,
        more: Mapping[str, str] | None = None,
        namespace_name: pulumi.Input[str] | None = None,
    ) -> dict[str, Any]:
        """Metadata of an object of `program`; without a name it gets one of its own, and is replaced by one of another name."""
        found: dict[str, Any] = {
            "namespace": self._namespace_name if namespace_name is None else namespace_name,
            "labels": {**program_labels(program), **(more or {})},
        }
        return found | ({} if name is None else {"name": name})

    def config_map(
        self, name: str, program: str, data: Mapping[str, str], more: Mapping[str, str] | None = None
    ) -> pulumi.Output[str]:
        """A ConfigMap whose content its program looks at again and again; its name."""
        made = kubernetes.core.v1.ConfigMap(
            self._owner.child_name(name), metadata=self.metadata(program, name, more), data=dict(data), opts=self._owner.child()
        )
        found: pulumi.Output[str] = made.metadata["name"]
        return found

    def fixed_config_map(self, role: str, program: str, data: pulumi.Input[dict[str, str]]) -> pulumi.Output[str]:
        """A ConfigMap that its program reads once: other content is another object, and with it another pod."""
        made = kubernetes.core.v1.ConfigMap(
            self._owner.child_name(role), metadata=self.metadata(program), data=data, immutable=True, opts=self._owner.child()
        )
        found: pulumi.Output[str] = made.metadata["name"]
        return found

    def claim(self, program: str, gib: int, storage_class_name: pulumi.Input[str] | None) -> pulumi.Output[str]:
        """A claim of that size, which can grow where its class lets it; its name."""
        made = kubernetes.core.v1.PersistentVolumeClaim(
            self._owner.child_name(program, "data"),
            metadata=self.metadata(program, program),
            spec=claim_spec(gib, storage_class_name),
            opts=self._owner.child(),
        )
        found: pulumi.Output[str] = made.metadata["name"]
        return found

    def account(self, program: str) -> pulumi.Output[str]:
        """A service account of the program's own, whose token no pod mounts that does not say so; its name."""
        made = kubernetes.core.v1.ServiceAccount(
            self._owner.child_name(program, "account"),
            metadata=self.metadata(program, program),
            automount_service_account_token=False,
            image_pull_secrets=[{"name": secret} for secret in self._pull_secrets] or None,
            opts=self._owner.child(),
        )
        found: pulumi.Output[str] = made.metadata["name"]
        return found

    def rights(
        self,
        program: str,
        account: pulumi.Input[str],
        namespaces: Mapping[str, pulumi.Input[str]],
        inside: Sequence[Mapping[str, Any]],
        everywhere: Sequence[Mapping[str, Any]],
    ) -> None:
        """What `program` may: by the rules `inside` in these namespaces, by key, and by `everywhere` in the whole cluster."""
        subjects = [{"kind": "ServiceAccount", "name": account, "namespace": self._namespace_name}]
        child, name = self._owner.child, self._owner.child_name
        for key, namespace in namespaces.items():
            metadata = self.metadata(program, namespace_name=namespace)
            role = kubernetes.rbac.v1.Role(name(program, key), metadata=metadata, rules=inside, opts=child())
            kubernetes.rbac.v1.RoleBinding(
                name(program, key),
                metadata=metadata,
                role_ref={"apiGroup": _RBAC, "kind": "Role", "name": role.metadata["name"]},
                subjects=subjects,
                opts=child(),
            )
        metadata = {"labels": program_labels(program)}
        whole = kubernetes.rbac.v1.ClusterRole(name(program), metadata=metadata, rules=everywhere, opts=child())
        kubernetes.rbac.v1.ClusterRoleBinding(
            name(program),
            metadata=metadata,
            role_ref={"apiGroup": _RBAC, "kind": "ClusterRole", "name": whole.metadata["name"]},
            subjects=subjects,
            opts=child(),
        )

    def stateful_set(
        self, name: str, program: Program, account: pulumi.Input[str], volumes: Sequence[Volume], *, uses_api: bool = False
    ) -> pulumi.Output[str]:
        """A StatefulSet of one pod and its Service; where it answers, known once it does.

        There is no disruption budget: for one pod it would only keep nodes from being emptied.
        """
        common = program_labels(name)
        made = kubernetes.apps.v1.StatefulSet(
            self._owner.child_name(name),
            metadata=self.metadata(name, name),
            spec={
                # Kubernetes wants a headless one here.
                "serviceName": name,
                "replicas": 1,
                "selector": {"matchLabels": selector(common)},
                "template": pod_template(
                    name, program, common, account=account, placing=self._placing, volumes=volumes, uses_api=uses_api
                ),
            },
            opts=self._owner.child(timeout=_TIMEOUT),
        )
        return self._served(name, program, made.metadata["name"], headless=True)

    def deployment(
        self, name: str, program: Program, account: pulumi.Input[str], volumes: Sequence[Volume]
    ) -> pulumi.Output[str]:
        """The same as a Deployment, for what keeps nothing."""
        common = program_labels(name)
        made = kubernetes.apps.v1.Deployment(
            self._owner.child_name(name),
            metadata=self.metadata(name, name),
            spec={
                "replicas": 1,
                "selector": {"matchLabels": selector(common)},
                "template": pod_template(name, program, common, account=account, placing=self._placing, volumes=volumes),
            },
            opts=self._owner.child(timeout=_TIMEOUT),
        )
        return self._served(name, program, made.metadata["name"], headless=False)

    def _served(self, name: str, program: Program, workload: pulumi.Output[str], *, headless: bool) -> pulumi.Output[str]:
        service = kubernetes.core.v1.Service(
            self._owner.child_name(name),
            metadata=self.metadata(name, name),
            spec=service_spec(program.port, program_labels(name), headless=headless),
            opts=self._owner.child(),
        )
        return known_after(url(name, self._namespace_name, program.port), workload, service.metadata["name"])


def url(service: str, namespace_name: pulumi.Input[str], port: int) -> pulumi.Output[str]:
    """Where a Service answers in the cluster."""
    return pulumi.Output.concat("http://", service, ".", namespace_name, f".svc:{port}")
