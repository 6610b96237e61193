"""Who may use a cluster, and from where."""

import pytest
from pydantic import TypeAdapter

from components.cluster.eks_access import PrincipalArn, check_principals, check_public_access, eks_kubeconfig, principal_key
from components.inputs import InputError, Model, validate

ADMIN = "arn:aws:iam::123456789012:role/platform-admin"
PREVIEW = "arn:aws:iam::123456789012:role/preview"


class _Holder(Model):
    principal: PrincipalArn


@pytest.mark.parametrize(
    "arn",
    [
        ADMIN,
        "arn:aws:iam::123456789012:user/moto",
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef",
        "arn:aws:iam::123456789012:user/ci+deploy@example.com",
        "arn:aws-us-gov:iam::123456789012:role/admin",
        "arn:aws-cn:iam::123456789012:role/admin",
    ],
)
def test_principals(arn: str) -> None:
    assert TypeAdapter(PrincipalArn).validate_python(arn) == arn


@pytest.mark.parametrize(
    "arn",
    [
        "platform-admin",
        "arn:aws:sts::123456789012:assumed-role/platform-admin/me",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:group/admins",
        "arn:aws:iam::123456789012:role/*",
        "arn:aws:iam::1234:role/admin",
        "arn:aws:iam::123456789012:role/",
        f"{ADMIN}\n",
    ],
)
def test_what_no_access_entry_takes_is_refused_with_one_that_works(arn: str) -> None:
    with pytest.raises(InputError) as refused:
        validate(_Holder, {"principal": arn}, "EksCluster c")
    assert "is not the ARN of an IAM role or user" in str(refused.value)
    assert "arn:aws:iam::123456789012:role/platform-admin" in str(refused.value)


@pytest.mark.parametrize(
    ("admins", "viewers", "fault"),
    [
        ((), (), "nobody is named"),
        ((), (PREVIEW,), "nobody is named"),
        ((ADMIN, ADMIN), (), f"{ADMIN} is named twice"),
        ((ADMIN,), (PREVIEW, ADMIN), f"{ADMIN} is named twice"),
        ((ADMIN,), (PREVIEW, PREVIEW), f"{PREVIEW} is named twice"),
    ],
)
def test_somebody_administers_it_and_nobody_is_named_twice(admins: tuple[str, ...], viewers: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_principals(admins, viewers)
    check_principals((ADMIN,), (PREVIEW,))


@pytest.mark.parametrize("arn", [ADMIN, "arn:aws:iam::123456789012:role/team/platform-admin", ADMIN.replace("role", "user")])
def test_entries_are_told_apart_by_who_they_are_of(arn: str) -> None:
    assert arn.endswith(f":{principal_key(arn)}")
    assert principal_key(arn).startswith(("role/", "user/"))


@pytest.mark.parametrize(
    ("cidrs", "fault"),
    [
        (("0.0.0.0/0",), "publicAccessCidrs: 0.0.0.0/0 is the whole internet"),
        (("203.0.113.0/24", "::/0"), "publicAccessCidrs: ::/0 is the whole internet"),
        (("203.0.113.1/24",), "publicAccessCidrs: '203.0.113.1/24' is not a network; use e.g. 203.0.113.0/24"),
        (("office",), "'office' is not a network"),
    ],
)
def test_networks_that_may_not_reach_the_api(cidrs: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_public_access(cidrs)


@pytest.mark.parametrize("cidrs", [(), ("203.0.113.0/24",), ("203.0.113.7/32", "198.51.100.0/25")])
def test_networks_that_may(cidrs: tuple[str, ...]) -> None:
    check_public_access(cidrs)


def test_a_kubeconfig_asks_aws_for_credentials_and_has_none() -> None:
    document = eks_kubeconfig("llm", "https://cluster.example", "Q0E=", "us-east-1")
    (user,) = document["users"]
    assert user["user"].keys() == {"exec"}
    assert user["user"]["exec"]["command"] == "aws"
    assert " ".join(user["user"]["exec"]["args"]) == "--region us-east-1 eks get-token --cluster-name llm --output json"
    (cluster,) = document["clusters"]
    assert cluster["cluster"] == {"server": "https://cluster.example", "certificate-authority-data": "Q0E="}
    (context,) = document["contexts"]
    assert document["current-context"] == context["name"]
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
