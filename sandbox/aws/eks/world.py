"""What EKS sees of the rest of the account: moto's state, read in the same process."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from planner.catalog import UnknownInstanceTypeError, instance_type
from planner.catalog import accelerator as catalogue_accelerator
from sandbox.aws.backends import Backends
from sandbox.aws.eks.errors import EksError, invalid_parameter
from sandbox.control_plane.machines import Architecture, accelerators_of, usable_memory
from sandbox.control_plane.node_groups import Accelerator

NOBODY = "moto"
"""The name of the IAM user the account's STS tells for keys it has not issued."""


@dataclass(frozen=True)
class InstanceSize:
    """An instance type as a node: cores, bytes, architecture, accelerators, and how it can be bought."""

    cores: Decimal
    memory: Decimal
    architecture: Architecture
    vendor: str
    """Of its accelerators, as the catalogue names it: nvidia, aws …; empty for none."""
    accelerator: Accelerator | None
    """None as well for a fraction of a GPU, which is not simulated."""
    usage_classes: tuple[str, ...]


class World:
    """The account's other services, in one region."""

    def __init__(self, account: str, region: str, endpoint: str = "") -> None:
        """`endpoint` is where the account answers."""
        self.account, self.region, self.endpoint = account, region, endpoint
        self._backends = Backends(region)

    def role(self, arn: str) -> Any | None:
        """moto's role of this ARN or name, or None."""
        return next((role for role in list(self._backends.iam.get_roles()) if arn in (role.arn, role.name)), None)

    def require_role(self, arn: str, service: str, actions: Sequence[str] = ("sts:AssumeRole",)) -> Any:
        """The role, when it exists and lets `service` (e.g. eks.amazonaws.com) do `actions`.

        Raises EksError otherwise.
        """
        role = self.role(arn) if arn.startswith("arn:") else None
        reason = "there is none" if role is None else f"its trust policy must allow {', '.join(actions)} to {service}"
        if role is None or not _trusts(role.assume_role_policy_document, service, actions):
            raise invalid_parameter(
                f"Role with arn: {arn}, could not be assumed because it does not exist "
                f"or the trusted entity is not correct: {reason}"
            )
        return role

    def trusts(self, arn: str, service: str) -> bool:
        """Whether the role exists and lets `service` assume it."""
        role = self.role(arn)
        return role is not None and _trusts(role.assume_role_policy_document, service, ("sts:AssumeRole",))

    def has_principal(self, arn: str) -> bool:
        """Whether an IAM user or role of this account exists; true for those of other accounts, which nobody here knows."""
        if arn.split(":")[4] != self.account:
            return True
        kind, _, name = arn.split(":", 5)[5].partition("/")
        if kind == "role":
            return self.role(arn) is not None
        return kind == "user" and (name == NOBODY or any(user.arn == arn for user in list(self._backends.iam.users.values())))

    def caller(self, access_key: str) -> tuple[str, str]:
        """The IAM principal behind an access key and its session's name, empty for a user.

        STS tells sessions; EKS knows principals: an assumed-role ARN becomes the role's, and what moto calls
        arn:aws:sts::…:user/moto, the owner of keys it has not issued, becomes the IAM user moto.
        """
        arn = self._backends.sts.get_caller_identity(access_key, self.region)[1]
        return self.principal(arn)

    def principal(self, arn: str) -> tuple[str, str]:
        """The same for an ARN as STS tells it; IAM ARNs stay."""
        service, resource = arn.split(":")[2], arn.split(":", 5)[5]
        kind, _, name = resource.partition("/")
        if service != "sts":
            return arn, ""
        if kind == "assumed-role":
            role_name, _, session = name.partition("/")
            role = self.role(role_name)
            return (role.arn if role else f"arn:aws:iam::{self.account}:role/{role_name}"), session
        return f"arn:aws:iam::{self.account}:{resource}", ""

    def subnet(self, subnet_id: str) -> Any | None:
        """moto's subnet, or None."""
        return next((zone[subnet_id] for zone in list(self._backends.ec2.subnets.values()) if subnet_id in zone), None)

    def subnets(self, ids: Iterable[str]) -> list[Any]:
        """moto's subnets of these ids. Raises EksError for those that do not exist."""
        found = {subnet_id: self.subnet(subnet_id) for subnet_id in ids}
        if missing := [subnet_id for subnet_id, subnet in found.items() if subnet is None]:
            raise invalid_parameter(f"The subnet ID '{missing[0]}' does not exist")
        return list(found.values())

    def require_security_groups(self, ids: Iterable[str], vpc: str) -> None:
        """Raises EksError for security groups that do not exist, or are of another VPC."""
        for group_id in ids:
            group = self._backends.ec2.get_security_group_from_id(group_id)
            if group is None:
                raise invalid_parameter(f"The security group '{group_id}' does not exist")
            if group.vpc_id != vpc:
                raise invalid_parameter(f"The security group '{group_id}' is not of the VPC {vpc} the subnets are in")

    def create_security_group(self, name: str, description: str, vpc: str, tags: dict[str, str]) -> str:
        """A group whose members reach each other and everything else, as EKS makes for a cluster."""
        group = self._backends.ec2.create_security_group(name, description, vpc_id=vpc, tags=tags)
        self._backends.ec2.authorize_security_group_ingress(
            group.id, "-1", None, None, [], source_groups=[{"GroupId": group.id}], vpc_id=vpc
        )
        return str(group.id)

    def delete_security_group(self, group_id: str) -> None:
        """Deletes it; it may be gone already."""
        if self._backends.ec2.get_security_group_from_id(group_id):
            self._backends.ec2.delete_security_group(group_id=group_id)

    def require_key(self, arn: str) -> None:
        """Raises EksError unless the KMS key exists, is enabled and symmetric."""
        key = self._backends.kms.keys.get(arn.rpartition("/")[2])
        if key is None or key.arn != arn:
            raise invalid_parameter(f"The KMS key {arn} does not exist in {self.region}")
        if not key.enabled or key.key_state != "Enabled":
            raise invalid_parameter(f"The KMS key {arn} is not enabled but {key.key_state}")
        if key.key_spec != "SYMMETRIC_DEFAULT":
            raise invalid_parameter(f"The KMS key {arn} is not symmetric, which envelope encryption needs")

    def launch_template(self, wanted: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
        """A launch template given by id or name and version: how EKS tells it (id, name, number), and its data.

        Raises EksError when it or its version does not exist.
        """
        template = next(
            (
                template
                for template in list(self._backends.ec2.launch_templates.values())
                if wanted.get("id", template.id) == template.id and wanted.get("name", template.name) == template.name
            ),
            None,
        )
        if template is None or not wanted.keys() & {"id", "name"}:
            raise invalid_parameter(f"Launch template {wanted.get('id') or wanted.get('name')} does not exist")
        asked = wanted.get("version", "$Default")
        aliases = {"$Default": template.default_version_number, "$Latest": template.latest_version_number}
        number = aliases.get(asked, int(asked) if asked.isdecimal() else 0)
        version = next((version for version in template.versions if version.number == number), None)
        if version is None:
            raise invalid_parameter(f"Launch template {template.id} has no version {asked}")
        return {"id": template.id, "name": template.name, "version": str(number)}, dict(version.data)

    def instance_size(self, name: str) -> InstanceSize:
        """How big an instance type is: from the planner's catalogue, else from moto's copy of DescribeInstanceTypes.

        Raises EksError for one that neither knows.
        """
        known = INSTANCE_TYPES.get(name)
        usage = tuple(known["SupportedUsageClasses"]) if known else ("on-demand", "spot", "capacity-block")
        try:
            found = instance_type(name)
        except UnknownInstanceTypeError as error:
            if known is None:
                raise EksError(
                    "InvalidParameterException", f"The following supplied instance types do not exist: [{name}]"
                ) from error
            architectures = known["ProcessorInfo"]["SupportedArchitectures"]
            return InstanceSize(
                Decimal(known["VCpuInfo"]["DefaultVCpus"]),
                usable_memory(known["MemoryInfo"]["SizeInMiB"]),
                "arm64" if "arm64" in architectures else "amd64",
                "",
                None,
                usage,
            )
        architecture: Architecture = "arm64" if found.arch == "arm64" else "amd64"
        return InstanceSize(
            Decimal(found.vcpus),
            usable_memory(found.memory_mib),
            architecture,
            catalogue_accelerator(found.accelerator).vendor,
            accelerators_of(name) if found.accelerator_count else None,
            usage,
        )

    def zones_offering(self, name: str) -> frozenset[str] | None:
        """The zones of the region with an instance type, or None where the account's offerings do not name it at all."""
        offers = self._backends.ec2.describe_instance_type_offerings("availability-zone", {"instance-type": [name]})
        return frozenset(offer["Location"] for offer in offers) or None


def _trusts(document: str, service: str, wanted: Sequence[str]) -> bool:
    """Whether the statements about `service` allow all wanted actions together."""
    allowed: set[str] = set()
    for statement in _many(json.loads(document).get("Statement", [])):
        principal = statement.get("Principal", {})
        if statement.get("Effect") == "Allow" and isinstance(principal, dict) and service in _many(principal.get("Service", [])):
            allowed.update(_many(statement.get("Action", [])))
    return all(any(fnmatchcase(action, pattern) for pattern in allowed) for action in wanted)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
