"""Roles by the tokens a cluster signs: for one service account each, and only where a cluster was asked for them."""

import json
from typing import Any

import pytest

from components.cluster import WorkloadIdentity
from components.inputs import InputError
from components.storage import ModelBucketAccess
from tests.contracts.examples import KEY_ARN
from tests.recorder import Recording, record
from tests.unit.test_eks_cluster import cluster

ISSUER = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"
PROVIDER = {"provider_arn": f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}", "issuer": ISSUER}
BUCKET: dict[str, Any] = {
    "namespace_name": "models",
    "bucket_arn": "arn:aws:s3:::models",
    "kms_key_arn": KEY_ARN,
    "prefix": "models/qwen",
}


def _access(**identity: Any) -> Recording:
    args: Any = BUCKET | identity

    def program() -> None:
        ModelBucketAccess("qwen", args)

    return record(program)


def test_reader_and_writer_have_roles_that_trust_no_other_account() -> None:
    recording = _access(oidc_provider=PROVIDER)
    accounts = {each.inputs["metadata"]["name"]: each for each in recording.of("kubernetes:core/v1:ServiceAccount")}
    roles = {each.name.removesuffix("-role"): each for each in recording.of("aws:iam/role:Role")}
    assert accounts.keys() == roles.keys() == {"qwen-reader", "qwen-writer"}
    for name, role in roles.items():
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        assert statement["Condition"] == {
            "StringEquals": {
                f"{ISSUER}:aud": "sts.amazonaws.com",
                f"{ISSUER}:sub": f"system:serviceaccount:models:{name}",
            }
        }
        annotations = accounts[name].inputs["metadata"]["annotations"]
        assert annotations["eks.amazonaws.com/role-arn"] == role.outputs["arn"]
        assert accounts[name].inputs["automountServiceAccountToken"] is False
    actions = {
        each.name: {action for statement in json.loads(each.inputs["policy"])["Statement"] for action in statement["Action"]}
        for each in recording.of("aws:iam/rolePolicy:RolePolicy")
    }
    assert {name for name, allowed in actions.items() if "s3:PutObject" in allowed} == {"qwen-writer-policy"}
    assert not recording.of("aws:eks/podIdentityAssociation:PodIdentityAssociation")


@pytest.mark.parametrize("identity", [{}, {"cluster_name": "llm", "oidc_provider": PROVIDER}], ids=["none", "both"])
def test_an_account_has_one_identity(identity: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give either cluster_name or oidc_provider"):
        _access(**identity)


@pytest.mark.parametrize("identity", list(WorkloadIdentity))
def test_a_cluster_is_known_to_iam_only_where_its_tokens_count(identity: WorkloadIdentity) -> None:
    providers = cluster(workload_identity=identity).of("aws:iam/openIdConnectProvider:OpenIdConnectProvider")
    audiences = [each.inputs["clientIdLists"] for each in providers]
    assert audiences == ([["sts.amazonaws.com"]] if identity is WorkloadIdentity.IRSA else [])
