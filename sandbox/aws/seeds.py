"""What an account has before anything is made in it: public parameters, offers of instance types, AWS's own policies."""

import hashlib
import os
import re
from typing import Any

from planner.catalog import instance_types
from sandbox.aws.eks.versions import release_version
from sandbox.aws.facts import facts

_BOTTLEROCKET = re.compile(
    r"/aws/service/bottlerocket/aws-k8s-(?P<kubernetes>[\d.]+)(-nvidia)?/(x86_64|arm64)/(?P<release>latest|[\d.]+)"
    r"/(?P<fact>image_version|image_id)"
)
_AMAZON_LINUX = re.compile(
    r"/aws/service/eks/optimized-ami/(?P<kubernetes>[\d.]+)/amazon-linux-2023/(?P<architecture>x86_64|arm64)/(?P<variant>\w+)"
    r"/recommended/(?P<fact>release_version|image_id)"
)


def parameter(name: str) -> str | None:
    """The value of a public parameter of Systems Manager about images for EKS; None for a name that AWS has not."""
    if found := _BOTTLEROCKET.fullmatch(name):
        known = facts()["bottlerocket"]
        first, releases = known["kubernetes"].get(found["kubernetes"]), known["releases"]
        release = releases[-1] if found["release"] == "latest" else found["release"]
        if first is None or release not in releases[releases.index(first) :]:
            return None
        return f"{release}-00000000" if found["fact"] == "image_version" else _image(name.replace("/latest/", f"/{release}/"))
    if found := _AMAZON_LINUX.fullmatch(name):
        known = facts()["amazon_linux"]
        if found["kubernetes"] not in known["kubernetes"] or found["variant"] not in known["variants"][found["architecture"]]:
            return None
        return release_version("AL2023", found["kubernetes"]) if found["fact"] == "release_version" else _image(name)
    return None


def _image(name: str) -> str:
    return f"ami-00000000{hashlib.sha256(name.encode()).hexdigest()[:9]}"


def install() -> None:
    """Makes moto's backends of this process begin with what AWS's accounts have. Before the first of them is used."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    _public_parameters()
    _offers()


def _public_parameters() -> None:
    from moto.core.utils import utcnow  # noqa: PLC0415 - moto's SSM takes half a second to import
    from moto.ssm.models import Parameter, ParameterDict  # noqa: PLC0415

    load = ParameterDict._check_loading_status

    def loaded(parameters: Any, name: str) -> None:
        load(parameters, name)
        value = parameter(name or "")
        if value is not None and name not in parameters.keys():  # noqa: SIM118 - `in parameters` comes back here
            parameters.setdefault(name, []).append(
                Parameter(
                    account_id=parameters.account_id,
                    name=name,
                    value=value,
                    parameter_type="String",
                    description=None,
                    allowed_pattern=None,
                    keyid=None,
                    last_modified_date=utcnow(),
                    version=1,
                    data_type="text",
                )
            )

    ParameterDict._check_loading_status = loaded


def _offers() -> None:
    """The catalogue's types that moto's copy of AWS's offers has nowhere are offered everywhere: nothing says where not."""
    from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS  # noqa: PLC0415

    known = {offer["InstanceType"] for offers in INSTANCE_TYPE_OFFERINGS["region"].values() for offer in offers}
    for kind, regions in INSTANCE_TYPE_OFFERINGS.items():
        for offers in regions.values():
            places = {offer["Location"] for offer in offers}
            offers.extend(
                {"InstanceType": name, "Location": place, "LocationType": kind}
                for name in instance_types()
                if name not in known
                for place in sorted(places)
            )
