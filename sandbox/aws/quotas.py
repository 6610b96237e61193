"""EC2's vCPU quotas, as Service Quotas tells them."""

from collections.abc import Mapping
from typing import Any

from sandbox.aws.backends import Backends
from sandbox.aws.facts import facts
from sandbox.aws.refusals.errors import Parameters, RefusalError


class Quotas:
    """The quotas of one account, by quota code."""

    def __init__(self) -> None:
        """The rehearsal's defaults."""
        self._values: dict[str, float] = {}

    def set(self, values: Mapping[str, float]) -> None:
        """Exactly these differ from the defaults."""
        self._values = dict(values)

    def get(self, aws: Backends, given: Parameters) -> dict[str, Any] | None:
        """GetServiceQuota; None for services other than EC2."""
        if given["ServiceCode"] != "ec2":
            return None
        if given["QuotaCode"] not in facts()["quotas"]:
            raise RefusalError("NoSuchResourceException", f"The rehearsed account has no quota {given['QuotaCode']} of EC2.")
        return {"Quota": self._described(aws, given["QuotaCode"])}

    def list(self, aws: Backends, given: Parameters) -> dict[str, Any] | None:
        """ListServiceQuotas; likewise."""
        if given["ServiceCode"] != "ec2":
            return None
        return {"Quotas": [self._described(aws, code) for code in facts()["quotas"]]}

    def _described(self, aws: Backends, code: str) -> dict[str, Any]:
        ec2 = aws.ec2
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{ec2.region_name}:{ec2.account_id}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": facts()["quotas"][code],
            "Value": float(self._values.get(code, facts()["default_quota_vcpus"])),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
