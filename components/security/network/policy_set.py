"""The NetworkPolicies of one namespace: nothing passes but what is named."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, field_validator

from ...base import PlatformComponent, labels
from ...inputs import InputText, Model, validate
from ...ordering import known_after
from ...types import DnsLabel
from .manifests import default_deny, policy_spec, reasons
from .policies import Dns, NetworkDnsArgs, NetworkPolicyArgs, Policy
from .reachability import REASONS

DEFAULT_DENY = "default-deny"


class NetworkPolicySetArgs(TypedDict):
    """Inputs of `NetworkPolicySet`."""

    namespace_name: pulumi.Input[str]
    """The namespace; one set for each."""
    policies: dict[str, NetworkPolicyArgs]
    """What may pass, by a name of one's own; `components.security.network.flows` writes those of this platform."""
    dns: NotRequired[NetworkDnsArgs]
    """Who resolves names; the cluster's CoreDNS by default."""


class _Config(Model):
    namespace_name: InputText
    policies: Mapping[DnsLabel, Policy]
    dns: Dns = Field(default_factory=Dns)

    @field_validator("policies")
    @classmethod
    def _names_are_free(cls, policies: Mapping[str, Policy]) -> Mapping[str, Policy]:
        if DEFAULT_DENY in policies:
            raise ValueError(f"{DEFAULT_DENY} is the policy that every set has; use another name, e.g. {DEFAULT_DENY}-mine")
        return policies


class NetworkPolicySet(PlatformComponent):
    """Closes every pod of a namespace both ways, and opens what its policies name.

    Make it before the pods: what takes the namespace's name from it waits for the policies, and goes before them.
    """

    namespace_name: pulumi.Output[str]
    """The namespace, known once all policies are there."""
    policy_names: pulumi.Output[dict[str, str]]
    """Names of the policies, by the keys they were given under."""

    def __init__(self, name: str, args: NetworkPolicySetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"NetworkPolicySet {name}")
        self._labels = labels("network-policy", name, "security")
        opened = {key: self._policy(key, policy_spec(each, config.dns), reasons(each)) for key, each in config.policies.items()}
        # The last of them, and so the one that everything in the namespace waits for: each object after each policy would be as
        # many dependencies as the product of both, and a third of a preview of a hundred models.
        closed = self._policy(DEFAULT_DENY, default_deny(), "nothing passes that no other policy names", [*opened.values()])
        self._policies: dict[str, pulumi.Output[str]] = {key: each.metadata["name"] for key, each in opened.items()}
        # Its namespace repeats an input, so a preview knows the name although the object is not there.
        self.namespace_name = known_after(config.namespace_name, closed.metadata["namespace"])
        self.policy_names = pulumi.Output.all(**self._policies)
        self.finish()

    @property
    def policies(self) -> Mapping[str, pulumi.Output[str]]:
        """As `policy_names`, for programs: a new policy leaves the names of the others known in a preview."""
        return self._policies

    def _policy(
        self, key: str, spec: dict[str, object], why: str, after: Sequence[pulumi.Resource] = ()
    ) -> "kubernetes.networking.v1.NetworkPolicy":
        return kubernetes.networking.v1.NetworkPolicy(
            self.child_name(key),
            metadata={"namespace": self._config.namespace_name, "labels": self._labels, "annotations": {REASONS: why}},
            spec=spec,
            opts=self.child(depends_on=after),
        )
