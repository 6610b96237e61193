"""VPC endpoints and flow logs."""

from typing import Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.ec2.shapes import Ec2Adapter, arn, change_tags, only, tags_of
from sandbox.providers.aws.services.shapes import STATUS, Operation, document, taken
from sandbox.providers.contract import ProviderError

_LISTS: Final = {"routeTableIds": "RouteTableIds", "subnetIds": "SubnetIds", "securityGroupIds": "SecurityGroupIds"}


class VpcEndpoint(Ec2Adapter):
    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    resource_type = "vpc-endpoint"
    replaces = frozenset({"serviceName", "serviceRegion", "vpcEndpointType", "vpcId"})
    unordered = frozenset(_LISTS)
    documents = frozenset({"policy"})
    needed = frozenset({"serviceName"})
    refused = frozenset(
        {
            "autoAccept",
            "dnsOptions",
            "ipAddressType",
            "resourceConfigurationArn",
            "serviceNetworkArn",
            "serviceRegion",
            "subnetConfigurations",
        }
    )

    def make(self, op: Operation) -> str:
        names = {
            "vpcId": "VpcId",
            "serviceName": "ServiceName",
            "policy": "PolicyDocument",
            "privateDnsEnabled": "PrivateDnsEnabled",
            **_LISTS,
        }
        kind = op.values.get("vpcEndpointType", "Gateway")
        answer = op.client.create_vpc_endpoint(**taken(op.values, names), VpcEndpointType=kind, **self.tagged(op))
        return str(answer["VpcEndpoint"]["VpcEndpointId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_vpc_endpoints(VpcEndpointIds=[op.id]), "VpcEndpoints")
        if not live or live["State"] == "deleted":
            return None
        lists = (
            only(
                op.client.describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [live["ServiceName"]]}]),
                "PrefixLists",
            )
            if live["VpcEndpointType"] == "Gateway"
            else None
        )
        groups = [group["GroupId"] for group in live.get("Groups") or []]
        return {
            STATUS: live["State"],
            "arn": arn(op, f"vpc-endpoint/{op.id}"),
            "cidrBlocks": (lists or {}).get("Cidrs", []),
            "dnsEntries": [
                {"dnsName": entry.get("DnsName"), "hostedZoneId": entry.get("HostedZoneId")}
                for entry in live.get("DnsEntries") or []
            ],
            "networkInterfaceIds": live.get("NetworkInterfaceIds") or [],
            "ownerId": live.get("OwnerId"),
            "policy": document(live["PolicyDocument"], op.values.get("policy")) if live.get("PolicyDocument") else None,
            "prefixListId": (lists or {}).get("PrefixListId"),
            "privateDnsEnabled": live.get("PrivateDnsEnabled", False),
            "requesterManaged": live.get("RequesterManaged", False),
            "routeTableIds": live.get("RouteTableIds") or [],
            "securityGroupIds": groups,
            "serviceName": live["ServiceName"],
            "state": live["State"].lower(),
            "subnetIds": live.get("SubnetIds") or [],
            "vpcEndpointType": live["VpcEndpointType"],
            "vpcId": live["VpcId"],
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        if bool(op.old.get("privateDnsEnabled")) != bool(op.values.get("privateDnsEnabled")):
            raise ProviderError(
                f"{self.token}: the emulated account does not change `privateDnsEnabled` of an endpoint: "
                "leave it as it was, or give the endpoint another name in the program"
            )
        change_tags(op)
        changes = taken(op.values, {"policy": "PolicyDocument"}) if op.changed("policy") else {}
        for ours, theirs in _LISTS.items():
            before, after = set(op.old.get(ours) or ()), set(op.values.get(ours) or ())
            if after - before:
                changes[f"Add{theirs}"] = sorted(after - before)
            if before - after:
                changes[f"Remove{theirs}"] = sorted(before - after)
        if changes:
            op.client.modify_vpc_endpoint(VpcEndpointId=op.id, **changes)

    def remove(self, op: Operation) -> None:
        answer = op.client.delete_vpc_endpoints(VpcEndpointIds=[op.id])
        for failure in answer.get("Unsuccessful") or []:
            raise ProviderError(f"DeleteVpcEndpoints: {failure['Error'].get('Code')}: {failure['Error'].get('Message')}")


class FlowLog(Ec2Adapter):
    token = "aws:ec2/flowLog:FlowLog"
    resource_type = "vpc-flow-log"
    replaces = frozenset(
        {
            "iamRoleArn",
            "logDestination",
            "logDestinationType",
            "logFormat",
            "maxAggregationInterval",
            "subnetId",
            "trafficType",
            "vpcId",
        }
    )
    refused = frozenset(
        {
            "deliverCrossAccountRole",
            "destinationOptions",
            "eniId",
            "regionalNatGatewayId",
            "tagFieldSpecifications",
            "transitGatewayAttachmentId",
            "transitGatewayId",
        }
    )
    _names: Final = {
        "iamRoleArn": "DeliverLogsPermissionArn",
        "logDestination": "LogDestination",
        "logDestinationType": "LogDestinationType",
        "logFormat": "LogFormat",
        "maxAggregationInterval": "MaxAggregationInterval",
        "trafficType": "TrafficType",
    }

    def make(self, op: Operation) -> str:
        resource, kind = next(
            ((op.values[name], kind) for name, kind in (("vpcId", "VPC"), ("subnetId", "Subnet")) if op.values.get(name)),
            ("", ""),
        )
        if not resource:
            raise ProviderError(f"{self.token}: vpcId or subnetId is missing; say whose traffic is logged")
        answer = op.client.create_flow_logs(
            ResourceIds=[resource], ResourceType=kind, **taken(op.values, self._names), **self.tagged(op)
        )
        for failure in answer.get("Unsuccessful") or []:
            raise ProviderError(f"CreateFlowLogs: {failure['Error'].get('Code')}: {failure['Error'].get('Message')}")
        return str(answer["FlowLogIds"][0])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_flow_logs(FlowLogIds=[op.id]), "FlowLogs")
        if not live:
            return None
        resource = str(live["ResourceId"])
        return {
            "arn": arn(op, f"vpc-flow-log/{op.id}"),
            **{ours: live.get(theirs) for ours, theirs in self._names.items()},
            "maxAggregationInterval": int(live.get("MaxAggregationInterval") or 600),
            "subnetId": resource if resource.startswith("subnet-") else None,
            "vpcId": resource if resource.startswith("vpc-") else None,
            **tags_of(op, live),
        }

    def remove(self, op: Operation) -> None:
        op.client.delete_flow_logs(FlowLogIds=[op.id])
