"""What users have made and not deleted: the leak check compares it with an empty account's."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from sandbox.aws.backends import used
from sandbox.secrets import SEEDED

_Finder: TypeAlias = Callable[[Any], Iterable[str]]


def _networks(ec2: Any) -> list[str]:
    return [vpc.id for vpc in ec2.vpcs.values() if not vpc.is_default]


def _subnets(ec2: Any) -> list[str]:
    return [subnet.id for zone in ec2.subnets.values() for subnet in zone.values() if subnet.vpc_id in _networks(ec2)]


def _groups(ec2: Any) -> list[str]:
    return [group.id for groups in ec2.groups.values() for group in groups.values() if group.name != "default"]


def _keys(kms: Any) -> list[str]:
    return [key.id for key in kms.keys.values() if key.key_state != "PendingDeletion" and not any(map(_is_of_aws, key.aliases))]


def _aliases(kms: Any) -> list[str]:
    return [name for key in kms.keys.values() for name in key.aliases if not _is_of_aws(name)]


def _parameters(ssm: Any) -> list[str]:
    kept = {name: versions[-1] for name, versions in ssm._parameters.items() if versions}
    return [name for name, last in kept.items() if not name.startswith("/aws/") and last.description != SEEDED]


def _secrets(secretsmanager: Any) -> list[str]:
    return [name for name, secret in secretsmanager.secrets.items() if secret.description != SEEDED]


def _is_of_aws(alias: str) -> bool:
    return alias.startswith("alias/aws/")


# Kind, moto's service, and what there is of it in one of the service's backends. Left out is what AWS makes by itself (default
# networks, the default group, main route table and access list of every network, its own policies, keys and parameters) and what
# it keeps for a while: keys that wait for their deletion, gateways that are gone.
KINDS: tuple[tuple[str, str, _Finder], ...] = (
    ("VPC", "ec2", _networks),
    ("subnet", "ec2", _subnets),
    ("route table", "ec2", lambda ec2: (table.id for table in ec2.route_tables.values() if table.main_association_id is None)),
    ("internet gateway", "ec2", lambda ec2: ec2.internet_gateways),
    ("egress-only internet gateway", "ec2", lambda ec2: ec2.egress_only_internet_gateways),
    ("NAT gateway", "ec2", lambda ec2: (gateway.id for gateway in ec2.nat_gateways.values() if gateway.state != "deleted")),
    ("Elastic IP", "ec2", lambda ec2: (address.allocation_id for address in ec2.addresses)),
    ("VPC endpoint", "ec2", lambda ec2: (endpoint.id for endpoint in ec2.vpc_end_points.values() if endpoint.state != "deleted")),
    ("security group", "ec2", _groups),
    ("network ACL", "ec2", lambda ec2: (acl.id for acl in ec2.network_acls.values() if not acl.default)),
    ("network interface", "ec2", lambda ec2: ec2.enis),
    ("flow log", "ec2", lambda ec2: ec2.flow_logs),
    ("instance", "ec2", lambda ec2: (instance.id for instance in ec2.all_instances() if instance.state != "terminated")),
    ("launch template", "ec2", lambda ec2: ec2.launch_templates),
    ("placement group", "ec2", lambda ec2: vars(ec2).get("placement_groups", {})),
    ("volume", "ec2", lambda ec2: ec2.volumes),
    ("IAM role", "iam", lambda iam: (role.name for role in iam.roles.values())),
    ("IAM policy", "iam", lambda iam: (arn for arn in iam.managed_policies if ":aws:policy/" not in arn)),
    ("instance profile", "iam", lambda iam: (profile.name for profile in iam.instance_profiles.values())),
    ("OIDC provider", "iam", lambda iam: iam.open_id_providers),
    ("IAM user", "iam", lambda iam: iam.users),
    ("bucket", "s3", lambda s3: s3.buckets),
    ("queue", "sqs", lambda sqs: sqs.queues),
    ("event rule", "events", lambda events: (name for bus in events.event_buses.values() for name in bus.rules)),
    ("log group", "logs", lambda logs: logs.groups),
    ("key", "kms", _keys),
    ("key alias", "kms", _aliases),
    ("EFS file system", "efs", lambda efs: efs.file_systems_by_id),
    ("EFS mount target", "efs", lambda efs: efs.mount_targets_by_id),
    ("EFS access point", "efs", lambda efs: efs.access_points),
    ("FSx file system", "fsx", lambda fsx: fsx.file_systems),
    ("FSx backup", "fsx", lambda fsx: fsx.backups),
    ("parameter", "ssm", _parameters),
    ("secret", "secretsmanager", _secrets),
    ("topic", "sns", lambda sns: sns.topics),
    ("alarm", "cloudwatch", lambda cloudwatch: cloudwatch.alarms),
    ("ECR repository", "ecr", lambda ecr: ecr.repositories),
    ("Auto Scaling group", "autoscaling", lambda autoscaling: autoscaling.autoscaling_groups),
    ("load balancer", "elbv2", lambda elbv2: elbv2.load_balancers),
)


def inventory() -> dict[str, list[str]]:
    """What there is, by kind, in all regions; services nobody has called are not loaded for it, for they have nothing."""
    return {
        kind: sorted(name for backend in used(service) for name in find(backend))
        for kind, service, find in KINDS
        if f"moto.{service}.models" in sys.modules
    }
