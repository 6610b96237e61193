"""What the tests of our EKS share: an account with a network and roles, and the service beside moto."""

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import httpx
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

from sandbox.aws import eks
from sandbox.control_plane import ports

REGION = "us-east-1"
KEYS = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal", "region_name": REGION}


class Account:
    """A VPC with a subnet in each of three zones, the roles of clusters and nodes, and clients to make more."""

    def __init__(self, moto: str | None = None) -> None:
        """`moto` is the URL of a moto server; without one, moto mocks this process."""
        self.ec2, self.iam, self.kms = (boto3.client(service, endpoint_url=moto, **KEYS) for service in ("ec2", "iam", "kms"))
        self._numbers = itertools.count()
        self.vpc: str = self.ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [self.subnet(self.vpc, f"10.20.{number}.0/24", zone) for number, zone in enumerate("abc")]
        self.cluster_role = self.role("cluster", "eks.amazonaws.com")
        self.node_role = self.role("node", "ec2.amazonaws.com")

    def subnet(self, vpc: str, cidr: str, zone: str) -> str:
        """The id of a new subnet."""
        made = self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=f"{REGION}{zone}")
        return str(made["Subnet"]["SubnetId"])

    def role(self, name: str, service: str, actions: Sequence[str] = ("sts:AssumeRole",)) -> str:
        """The ARN of a new role."""
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions)}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        return str(self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"])

    def attach(self, role: str, *policies: str) -> None:
        """Gives a role policies of AWS by their names."""
        for policy in policies:
            self.iam.attach_role_policy(RoleName=role, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")

    def launch_template(self, **data: Any) -> str:
        """The id of a new launch template."""
        made = self.ec2.create_launch_template(LaunchTemplateName=f"template-{next(self._numbers)}", LaunchTemplateData=data)
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def cluster(self, **settings: Any) -> dict[str, Any]:
        """Parameters of CreateCluster as the platform's components give them."""
        return {
            "name": "main",
            "version": "1.35",
            "roleArn": self.cluster_role,
            "resourcesVpcConfig": {"subnetIds": self.subnets, "endpointPrivateAccess": True},
            "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
            "bootstrapSelfManagedAddons": False,
        } | settings

    def nodegroup(self, **settings: Any) -> dict[str, Any]:
        """Parameters of CreateNodegroup: one GPU node."""
        return {
            "clusterName": "main",
            "nodegroupName": "gpu",
            "nodeRole": self.node_role,
            "subnets": self.subnets,
            "instanceTypes": ["g6.xlarge"],
            "amiType": "AL2023_x86_64_NVIDIA",
            "scalingConfig": {"minSize": 0, "maxSize": 3, "desiredSize": 1},
        } | settings


class Served(Account):
    """The same over HTTP, with EKS; empty, whatever tests of this process have made in moto before."""

    def __init__(self, moto: str, url: str, home: Path) -> None:
        httpx.post(f"{moto}/moto-api/reset").raise_for_status()
        super().__init__(moto)
        self.url, self.home = url, home
        self.eks = boto3.client("eks", endpoint_url=url, **KEYS)


@contextlib.contextmanager
def served(home: Path) -> Iterator[Served]:
    """An account that ends with the block, its control planes too."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    own = ports.choose(("eks",))["eks"]
    url = f"http://127.0.0.1:{own}"
    server = make_server("127.0.0.1", own, eks.application(home, REGION, url), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Served(f"http://{host}:{port}", url, home)
    finally:
        eks.shutdown()
        server.shutdown()
        server.server_close()
        moto.stop()
