"""Functions (data sources) of pulumi-aws that the program calls, answered from the emulated account."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.providers.aws.account import identity
from sandbox.providers.aws.adapter import Account, Values
from sandbox.providers.contract import ProviderError


def call(account: Account, token: str, args: Values) -> Values:
    """The result of one function. Raises ProviderError for one that is not emulated, or called with what is not."""
    if token not in FUNCTIONS:
        raise ProviderError(f"the function {token} is not emulated; known are {', '.join(sorted(FUNCTIONS))}")
    work, known = FUNCTIONS[token]
    given = {name: value for name, value in args.items() if value is not None}
    if given.pop("region", account.region) != account.region:
        raise ProviderError(f"{token}: the emulated account has one region, {account.region}")
    if unknown := sorted(given.keys() - known):
        raise ProviderError(
            f"{token}: {', '.join(unknown)} is not emulated; known are {', '.join(sorted(known)) or 'no arguments'}"
        )
    result = work(account, given)
    # Like the bridged provider: an id made from what was asked.
    return {"id": _digest(given), "region": account.region, **given, **result}


def _caller_identity(account: Account, _args: Values) -> Values:
    return {**identity(account.region), "id": account.account_id}


def _partition(account: Account, _args: Values) -> Values:
    suffix = "amazonaws.com.cn" if account.partition == "aws-cn" else "amazonaws.com"
    reverse = ".".join(reversed(suffix.split(".")))
    return {"id": account.partition, "partition": account.partition, "dnsSuffix": suffix, "reverseDnsPrefix": reverse}


def _region(account: Account, _args: Values) -> Values:
    name = account.region
    return {"id": name, "region": name, "name": name, "endpoint": f"ec2.{name}.amazonaws.com", "description": name}


def _availability_zones(account: Account, args: Values) -> Values:
    answer = account.client("ec2").describe_availability_zones(Filters=_filters(args))
    zones = [zone for zone in answer["AvailabilityZones"] if args.get("state") in (None, zone["State"])]
    return {
        "names": sorted(zone["ZoneName"] for zone in zones),
        "zoneIds": [zone["ZoneId"] for zone in sorted(zones, key=lambda zone: str(zone["ZoneName"]))],
        "groupNames": sorted({zone.get("GroupName", account.region) for zone in zones}),
    }


def _parameter(account: Account, args: Values) -> Values:
    found = account.client("ssm").get_parameter(Name=args["name"], WithDecryption=args.get("withDecryption", True))["Parameter"]
    return {
        "arn": found["ARN"],
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
        "type": found["Type"],
        "value": found["Value"],
        "version": found["Version"],
        "withDecryption": args.get("withDecryption", True),
    }


def _service_quota(account: Account, args: Values) -> Values:
    found = account.client("service-quotas").get_service_quota(ServiceCode=args["serviceCode"], QuotaCode=args["quotaCode"])[
        "Quota"
    ]
    return {
        "adjustable": found.get("Adjustable", False),
        "arn": found.get("QuotaArn", ""),
        "defaultValue": found["Value"],
        "globalQuota": found.get("GlobalQuota", False),
        "quotaName": found["QuotaName"],
        "serviceName": found.get("ServiceName", ""),
        "usageMetrics": [],
        "value": found["Value"],
    }


def _instance_type_offerings(account: Account, args: Values) -> Values:
    kind = args.get("locationType", "region")
    pages = account.client("ec2").get_paginator("describe_instance_type_offerings")
    found = [
        offering
        for page in pages.paginate(LocationType=kind, Filters=_filters(args))
        for offering in page["InstanceTypeOfferings"]
    ]
    found.sort(key=lambda offering: (offering["InstanceType"], offering["Location"]))
    return {
        "instanceTypes": [offering["InstanceType"] for offering in found],
        "locationTypes": [offering["LocationType"] for offering in found],
        "locations": [offering["Location"] for offering in found],
    }


def _policy_document(_account: Account, args: Values) -> Values:
    """As internal/service/iam/policy_document_data_source.go of hashicorp/terraform-provider-aws writes it."""
    version, statements = args.get("version", "2012-10-17"), args.get("statements") or []
    sids = [statement["sid"] for statement in statements if statement.get("sid")]
    for sid in sids:
        if sids.count(sid) > 1:
            raise ProviderError(f"two statements of a policy document have the sid {sid}; give each its own, or none")
    document = {"Version": version} | ({"Statement": [_statement(one) for one in statements]} if statements else {})
    indented = json.dumps(document, indent=2, ensure_ascii=False)
    minified = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return {"version": version, "json": indented, "minifiedJson": minified}


def _statement(given: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": given["sid"]} if given.get("sid") else {}
    statement["Effect"] = given.get("effect", "Allow")
    for ours, theirs in (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    ):
        if given.get(ours):
            statement[theirs] = _one_or_many(_set(given[ours]))
    for ours, theirs in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(ours):
            statement[theirs] = _principals(given[ours])
    if given.get("conditions"):
        statement["Condition"] = _conditions(given["conditions"])
    return statement


def _principals(given: list[Values]) -> str | dict[str, Any]:
    if [(one["type"], one["identifiers"]) for one in given] == [("*", ["*"])]:
        return "*"
    found: dict[str, list[str]] = {}
    for one in given:
        found.setdefault(one["type"], []).extend(_set(one["identifiers"]))
    return {kind: _one_or_many(found[kind]) for kind in sorted(found)}


def _conditions(given: list[Values]) -> dict[str, Any]:
    found: dict[str, dict[str, list[str]]] = {}
    for one in given:
        values = [_interpolated(value) for value in one["values"]]
        found.setdefault(one["test"], {}).setdefault(one["variable"], []).extend(values)
    return {test: {name: _one_or_many(found[test][name]) for name in sorted(found[test])} for test in sorted(found)}


def _set(values: list[str]) -> list[str]:
    """A set of the official provider, which writes it backwards."""
    return [_interpolated(value) for value in sorted(set(values), reverse=True)]


def _interpolated(value: str) -> str:
    """Terraform has `${` for itself, so IAM's variables are written `&{`."""
    return value.replace("&{", "${")


def _one_or_many(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _filters(args: Values) -> list[dict[str, Any]]:
    return [{"Name": one["name"], "Values": one["values"]} for one in args.get("filters") or []]


def _digest(args: Values) -> str:
    return str(int(hashlib.sha256(json.dumps(args, sort_keys=True).encode()).hexdigest()[:8], 16))


FUNCTIONS: Mapping[str, tuple[Callable[[Account, Values], Values], frozenset[str]]] = {
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": (
        _instance_type_offerings,
        frozenset({"filters", "locationType"}),
    ),
    "aws:iam/getPolicyDocument:getPolicyDocument": (_policy_document, frozenset({"statements", "version"})),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (_availability_zones, frozenset({"filters", "state"})),
    "aws:index/getCallerIdentity:getCallerIdentity": (_caller_identity, frozenset()),
    "aws:index/getPartition:getPartition": (_partition, frozenset()),
    "aws:index/getRegion:getRegion": (_region, frozenset()),
    "aws:servicequotas/getServiceQuota:getServiceQuota": (_service_quota, frozenset({"serviceCode", "quotaCode"})),
    "aws:ssm/getParameter:getParameter": (_parameter, frozenset({"name", "withDecryption"})),
}
