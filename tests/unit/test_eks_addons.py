"""Which add-ons a cluster gets, what they are told, and around which nodes."""

import json

import pytest

from components.cluster.eks_addons import OPTIONAL, Addon, addons, check_addons

BEFORE_NODES = ["vpc-cni", "kube-proxy", "eks-pod-identity-agent"]
AFTER_NODES = ["coredns", "aws-ebs-csi-driver", "metrics-server", "eks-node-monitoring-agent"]


@pytest.mark.parametrize(
    ("file_systems", "more"),
    [
        ((), []),
        (("efs",), ["aws-efs-csi-driver"]),
        (("lustre",), ["aws-fsx-csi-driver"]),
        (("lustre", "efs", "lustre"), ["aws-efs-csi-driver", "aws-fsx-csi-driver"]),
    ],
)
def test_which_and_in_which_order(file_systems: tuple[str, ...], more: list[str]) -> None:
    wanted = addons(file_systems)
    assert [each.name for each in wanted if not each.needs_nodes] == BEFORE_NODES
    assert [each.name for each in wanted if each.needs_nodes] == AFTER_NODES + more
    # The order they are listed in is the one they come in.
    assert sorted(wanted, key=lambda each: each.needs_nodes) == list(wanted)


def test_settings_are_text_of_one_form() -> None:
    one = Addon(name="a", needs_nodes=False, settings={"env": {"B": "2", "A": "1"}, "enableNetworkPolicy": "true"})
    other = Addon(name="a", needs_nodes=False, settings={"enableNetworkPolicy": "true", "env": {"A": "1", "B": "2"}})
    assert one.configuration == other.configuration == '{"enableNetworkPolicy":"true","env":{"A":"1","B":"2"}}'
    assert Addon(name="a", needs_nodes=False).configuration is None


def test_the_network_enforces_policies_and_hands_out_whole_prefixes() -> None:
    (cni,) = (each for each in addons() if each.name == "vpc-cni")
    settings = json.loads(cni.configuration or "")
    # The add-on's schema has text for them, not booleans or numbers.
    assert settings["enableNetworkPolicy"] == "true"
    assert settings["env"] == {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"}


def test_who_calls_aws_has_its_own_role() -> None:
    accounts = {each.name: each.identity.service_account for each in addons(tuple(OPTIONAL)) if each.identity}
    assert accounts == {
        "vpc-cni": "aws-node",
        "aws-ebs-csi-driver": "ebs-csi-controller-sa",
        "aws-efs-csi-driver": "efs-csi-controller-sa",
        "aws-fsx-csi-driver": "fsx-csi-controller-sa",
    }


@pytest.mark.parametrize(
    ("file_systems", "versions", "fault"),
    [
        (("nfs",), {}, "fileSystems: 'nfs' is not known; use efs, lustre"),
        ((), {"core-dns": "v1"}, "addonVersions: core-dns is no add-on of this cluster; use vpc-cni, kube-proxy, "),
        (("efs",), {"aws-fsx-csi-driver": "v1"}, "addonVersions: aws-fsx-csi-driver is no add-on of this cluster"),
    ],
)
def test_what_is_not_installed_is_refused(file_systems: tuple[str, ...], versions: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{fault}"):
        check_addons(file_systems, versions)


def test_every_add_on_can_be_pinned() -> None:
    check_addons(tuple(OPTIONAL), {each.name: "v1.0.0-eksbuild.1" for each in addons(tuple(OPTIONAL))})
