"""The network of clusters: a VPC with subnets in every zone, ways out, and ways to AWS that stay inside."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..cloud import Cloud, cloud
from ..inputs import InputText, Matching, Model, validate
from ..security.policies import document
from ..types import DnsLabel
from .addressing import ZoneSubnets, check_cidr, region_of, subnets
from .endpoints import check_endpoints, s3_statements
from .flow_log import flow_log

_ANYWHERE = "0.0.0.0/0"


class NatGateways(StrEnum):
    """How private subnets reach the internet."""

    SINGLE = "single"
    """One gateway in the first listed zone: cheaper, and gone with that zone."""
    PER_ZONE = "perZone"
    """One in each zone, so that no traffic crosses zones and no zone needs another."""
    NONE = "none"
    """No way out; everything has to come through endpoints."""


class NetworkArgs(TypedDict):
    """Inputs of `Network`."""

    cidr: str
    """Addresses of the VPC, /16 to /20; pods take theirs from it."""
    zones: list[str]
    """Availability zones, two or more."""
    kms_key_arn: pulumi.Input[str]
    """The key the flow log is encrypted with; it must serve the log groups `flow_log_group` names."""
    nat_gateways: NotRequired[NatGateways]
    """How private subnets reach the internet; `perZone` by default."""
    interface_endpoints: NotRequired[list[str]]
    """AWS services reached inside the network, by short name, e.g. `ecr.api`, `ecr.dkr`, `sts`, `eks-auth`, `ec2`, `logs`,
    `sqs`, `ssm`, `elasticfilesystem`; none by default. S3 always is."""
    readable_buckets: NotRequired[list[str]]
    """Buckets of other accounts that pods read, beside those of the common registries."""
    cluster_names: NotRequired[list[str]]
    """Clusters in this network, so that controllers find its subnets by tag; the first is in `karpenter.sh/discovery`."""
    peer_cidrs: NotRequired[list[str]]
    """Networks this one must not overlap."""
    flow_log_retention_days: NotRequired[int]
    """How long the flow log is kept, a retention CloudWatch Logs offers; 365 by default."""


class _Config(Model):
    cidr: str = Field(examples=["10.40.0.0/16"])
    zones: tuple[str, ...] = Field(min_length=2, examples=["[us-east-1a, us-east-1b]"])
    kms_key_arn: InputText
    nat_gateways: NatGateways = NatGateways.PER_ZONE
    interface_endpoints: tuple[
        Annotated[str, Matching(pattern=r"[a-z0-9-]+(\.[a-z0-9-]+)*", what="the short name of a service", example="ecr.api")], ...
    ] = ()
    readable_buckets: tuple[str, ...] = ()
    cluster_names: tuple[DnsLabel, ...] = ()
    peer_cidrs: tuple[str, ...] = ()
    flow_log_retention_days: int = Field(365, ge=1, examples=[365])

    @model_validator(mode="after")
    def _works(self) -> "_Config":
        subnets(self.cidr, self.zones)
        check_cidr(self.cidr, self.peer_cidrs)
        check_endpoints(self.interface_endpoints, self.nat_gateways is not NatGateways.NONE)
        return self


class Network(PlatformComponent):
    """A VPC in which nothing gets a public address by itself, and whose traffic is logged."""

    vpc_id: pulumi.Output[str]
    """Id of the VPC."""
    vpc_cidr: pulumi.Output[str]
    """Addresses of the VPC."""
    s3_prefix_list_id: pulumi.Output[str]
    """The addresses of S3, for rules of security groups."""
    s3_cidrs: pulumi.Output[list[str]]
    """The same as ranges, for policies."""
    private_subnet_ids: pulumi.Output[dict[str, str]]
    """By zone the subnet of nodes and pods, known when it has its way out."""
    public_subnet_ids: pulumi.Output[dict[str, str]]
    """By zone the subnet of load balancers that face the internet."""
    control_plane_subnet_ids: pulumi.Output[dict[str, str]]
    """By zone the subnet of the EKS control plane's interfaces."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"Network {name}")
        self._config = config
        self._region = region_of(config.zones[0])
        here = cloud(self)
        self._vpc = aws.ec2.Vpc(
            self.child_name("vpc"),
            cidr_block=config.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._named("vpc"),
            opts=self.child(),
        )
        # Without rules, whatever forgets to name a group reaches nothing.
        aws.ec2.DefaultSecurityGroup(
            self.child_name("default"), vpc_id=self._vpc.id, tags=self._named("default"), opts=self.child()
        )
        flow_log(self, here, self._vpc.id, config.flow_log_retention_days, config.kms_key_arn)
        self._public = self._public_subnets()
        gateways = self._nat_gateways()
        placed = {zone: self._subnet(zone, "private", blocks.private) for zone, blocks in self._blocks.items()}
        tables = {zone: self._route_table("private", zone) for zone in placed}
        s3 = self._s3_endpoint(here, tables)
        ready: list[pulumi.Resource] = [s3, *self._interface_endpoints(placed)]
        self._private = {
            zone: self._associate("private", zone, subnet, tables[zone], [*ready, *self._way_out(zone, tables[zone], gateways)])
            for zone, subnet in placed.items()
        }
        # No route but the local one: the control plane talks to nodes only.
        inside = self._route_table("control-plane")
        self._control_plane = {
            zone: self._associate("control-plane", zone, self._subnet(zone, "control-plane", blocks.control_plane), inside, [])
            for zone, blocks in self._blocks.items()
        }
        self.vpc_id = self._vpc.id
        self.vpc_cidr = self._vpc.cidr_block
        self.s3_prefix_list_id = s3.prefix_list_id
        self.s3_cidrs = s3.cidr_blocks
        self.private_subnet_ids = pulumi.Output.all(**self._private)
        self.public_subnet_ids = pulumi.Output.all(**self._public)
        self.control_plane_subnet_ids = pulumi.Output.all(**self._control_plane)
        self.finish()

    @property
    def private_subnets(self) -> Mapping[str, pulumi.Output[str]]:
        """As `private_subnet_ids`, for programs: a new zone leaves the ids of the others known in a preview."""
        return self._private

    @property
    def public_subnets(self) -> Mapping[str, pulumi.Output[str]]:
        """As `public_subnet_ids`, for programs."""
        return self._public

    @property
    def control_plane_subnets(self) -> Mapping[str, pulumi.Output[str]]:
        """As `control_plane_subnet_ids`, for programs."""
        return self._control_plane

    @property
    def _blocks(self) -> Mapping[str, ZoneSubnets]:
        return subnets(self._config.cidr, self._config.zones)

    def _named(self, role: str, zone: str = "") -> dict[str, str]:
        return {"Name": self.child_name(role, zone)}

    def _subnet(self, zone: str, role: str, cidr: str) -> "aws.ec2.Subnet":
        return aws.ec2.Subnet(
            self.child_name(role, zone),
            vpc_id=self._vpc.id,
            availability_zone=zone,
            cidr_block=cidr,
            map_public_ip_on_launch=False,
            tags=self._named(role, zone) | subnet_tags(role, self._config.cluster_names),
            opts=self.child(),
        )

    def _route_table(self, role: str, zone: str = "") -> "aws.ec2.RouteTable":
        return aws.ec2.RouteTable(
            self.child_name(f"{role}-routes", zone),
            vpc_id=self._vpc.id,
            tags=self._named(f"{role}-routes", zone),
            opts=self.child(),
        )

    def _associate(
        self,
        role: str,
        zone: str,
        subnet: "aws.ec2.Subnet",
        table: "aws.ec2.RouteTable",
        depends_on: list[pulumi.Resource],
    ) -> pulumi.Output[str]:
        """The id of the subnet once it has its routes. What is put into it then waits for them, and is deleted before them."""
        association = aws.ec2.RouteTableAssociation(
            self.child_name(f"{role}-routes-of", zone),
            subnet_id=subnet.id,
            route_table_id=table.id,
            opts=self.child(depends_on=depends_on),
        )
        subnet_id: pulumi.Output[str] = association.subnet_id
        return subnet_id

    def _public_subnets(self) -> dict[str, pulumi.Output[str]]:
        gateway = aws.ec2.InternetGateway(
            self.child_name("internet"), vpc_id=self._vpc.id, tags=self._named("internet"), opts=self.child()
        )
        table = self._route_table("public")
        route = aws.ec2.Route(
            self.child_name("public-route"),
            route_table_id=table.id,
            destination_cidr_block=_ANYWHERE,
            gateway_id=gateway.id,
            opts=self.child(),
        )
        return {
            zone: self._associate("public", zone, self._subnet(zone, "public", blocks.public), table, [route])
            for zone, blocks in self._blocks.items()
        }

    def _nat_gateways(self) -> dict[str, pulumi.Output[str]]:
        """By zone the NAT gateway its private subnet uses."""
        match self._config.nat_gateways:
            case NatGateways.NONE:
                return {}
            case NatGateways.SINGLE:
                return dict.fromkeys(self._config.zones, self._nat_gateway(self._config.zones[0]))
            case NatGateways.PER_ZONE:
                return {zone: self._nat_gateway(zone) for zone in self._config.zones}

    def _nat_gateway(self, zone: str) -> pulumi.Output[str]:
        address = aws.ec2.Eip(
            self.child_name("nat-address", zone), domain="vpc", tags=self._named("nat-address", zone), opts=self.child()
        )
        gateway = aws.ec2.NatGateway(
            self.child_name("nat", zone),
            allocation_id=address.allocation_id,
            # Known when it has its route to the internet gateway, without which NAT gateways fail.
            subnet_id=self._public[zone],
            tags=self._named("nat", zone),
            opts=self.child(),
        )
        gateway_id: pulumi.Output[str] = gateway.id
        return gateway_id

    def _way_out(
        self, zone: str, table: "aws.ec2.RouteTable", gateways: Mapping[str, pulumi.Output[str]]
    ) -> list[pulumi.Resource]:
        if zone not in gateways:
            return []
        return [
            aws.ec2.Route(
                self.child_name("private-route", zone),
                route_table_id=table.id,
                destination_cidr_block=_ANYWHERE,
                nat_gateway_id=gateways[zone],
                opts=self.child(),
            )
        ]

    def _s3_endpoint(self, here: Cloud, tables: Mapping[str, "aws.ec2.RouteTable"]) -> "aws.ec2.VpcEndpoint":
        return aws.ec2.VpcEndpoint(
            self.child_name("endpoint", "s3"),
            vpc_id=self._vpc.id,
            vpc_endpoint_type="Gateway",
            service_name=f"com.amazonaws.{self._region}.s3",
            route_table_ids=[table.id for _, table in sorted(tables.items())],
            policy=document(*s3_statements(here.partition, here.account_id, self._region, self._config.readable_buckets)),
            tags=self._named("endpoint", "s3"),
            opts=self.child(),
        )

    def _interface_endpoints(self, placed: Mapping[str, "aws.ec2.Subnet"]) -> list[pulumi.Resource]:
        if not self._config.interface_endpoints:
            return []
        group = aws.ec2.SecurityGroup(
            self.child_name("endpoints"),
            description="Interface endpoints of AWS services, reached from the VPC",
            vpc_id=self._vpc.id,
            tags=self._named("endpoints"),
            opts=self.child(),
        )
        rule = aws.vpc.SecurityGroupIngressRule(
            self.child_name("endpoints-ingress"),
            security_group_id=group.id,
            cidr_ipv4=self._vpc.cidr_block,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="HTTPS from the VPC",
            opts=self.child(),
        )
        return [
            aws.ec2.VpcEndpoint(
                self.child_name("endpoint", service),
                vpc_id=self._vpc.id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{self._region}.{service}",
                subnet_ids=[subnet.id for _, subnet in sorted(placed.items())],
                security_group_ids=[rule.security_group_id],
                private_dns_enabled=True,
                tags=self._named("endpoint", service),
                opts=self.child(),
            )
            for service in sorted(self._config.interface_endpoints)
        ]


def subnet_tags(role: str, cluster_names: tuple[str, ...]) -> dict[str, str]:
    """Tags by which controllers find the subnets they may use (EKS user guide, "Route internet traffic with AWS Load Balancer
    Controller"; Karpenter, "NodeClasses")."""
    if role == "control-plane":
        return {}
    shared = {f"kubernetes.io/cluster/{name}": "shared" for name in cluster_names}
    if role == "public":
        return shared | {"kubernetes.io/role/elb": "1"}
    discovered = {"karpenter.sh/discovery": cluster_names[0]} if cluster_names else {}
    return shared | discovered | {"kubernetes.io/role/internal-elb": "1"}
