"""What breaks a rule of the policy pack in another shape than its example: each was a way around it."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from pulumi.runtime import proto, rpc

from policy_pack.addresses import everybody
from policy_pack.engines import engines
from policy_pack.resources import Resource, Stack, pods
from policy_pack.rules import RULES
from policy_pack.server import Analyzer
from policy_pack.values import UNKNOWN
from tests.policy_support import examples, violations

EXAMPLES = examples()
RULE = {rule.id: rule for rule in RULES}
EVERY_PORT = {"fromPort": 0, "toPort": 65535, "protocol": "tcp"}
OPEN = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def resource(token: str, properties: Mapping[str, Any], name: str = "x", **more: Any) -> Resource:
    return Resource(f"urn:pulumi:stack::project::{token}::{name}", token, name, properties, **more)


def placed(token: str, name: str = "x", namespace: Any = "models", **properties: Any) -> Resource:
    return resource(f"kubernetes:{token}", {"metadata": {"name": name, "namespace": namespace}, **properties}, name)


def deployment(name: str = "server", namespace: Any = "models", labels: Any = None, **spec: Any) -> Resource:
    template = {"metadata": {"labels": labels or {"app": "server"}}, "spec": spec}
    return placed("apps/v1:Deployment", name, namespace, spec={"template": template})


def engine(image: str = "vllm/vllm-openai:v0.33.0", **container: Any) -> Resource:
    return deployment(containers=[{"name": "engine", "image": image, **container}])


def policy(spec: Mapping[str, Any], namespace: Any = "models", **more: Any) -> Resource:
    properties = {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}
    return resource("kubernetes:networking.k8s.io/v1:NetworkPolicy", properties, "p", **more)


def said(rule: str, *resources: Resource) -> list[str]:
    return [finding.sentence for finding in violations(RULE[rule], Stack(resources))]


# Patches


@pytest.mark.parametrize(
    ("rule", "patch"),
    [
        (
            "image-pinned",
            placed("apps/v1:DeploymentPatch", spec={"template": {"spec": {"containers": [{"image": "a/b:latest"}]}}}),
        ),
        ("engine-version", resource(engine().type + "Patch", engine("vllm/vllm-openai:v0.6.0").properties)),
        ("engine-arguments", resource(engine().type + "Patch", engine(args=["x", "--trust-remote-code"], command=[]).properties)),
        ("secret-in-state", placed("core/v1:SecretPatch", stringData={"token": "given"})),
        ("secret-literal", placed("core/v1:ConfigMapPatch", data={"token": "hf_Xq7Lm2Rt9Vb4Nc8Kp1Wz"})),
        ("rbac-wildcard", placed("rbac.authorization.k8s.io/v1:ClusterRolePatch", rules=[{"verbs": ["*"]}])),
        (
            "karpenter-consolidation",
            resource(
                "kubernetes:karpenter.sh/v1:NodePoolPatch",
                {
                    "kind": "NodePool",
                    "spec": {
                        "limits": {"nvidia.com/gpu": 4},
                        "template": {"spec": {"taints": []}},
                        "disruption": {
                            "consolidationPolicy": "WhenEmptyOrUnderutilized",
                            "budgets": [],
                            "consolidateAfter": "2h",
                        },
                    },
                },
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.shown,
)
def test_a_patch_is_judged_as_what_it_patches(rule: str, patch: Resource) -> None:
    assert said(rule, patch)


def test_a_privileged_patch_breaks_the_level_of_its_namespace() -> None:
    level = EXAMPLES["pod-security-level"].failing.resources[0]
    spec = {"template": {"spec": {"hostNetwork": True, "containers": [{"name": "c", "securityContext": {"privileged": True}}]}}}
    found = said("pod-security-level", level, placed("apps/v1:DaemonSetPatch", spec=spec))
    assert [sentence.partition(" is true")[0].rpartition(".")[2] for sentence in found] == ["hostNetwork", "privileged"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_what_a_patch_leaves_out_is_not_missing(rule: Any) -> None:
    """The object has it already, perhaps: a patch of nothing but a label breaks no rule, whatever it patches."""
    everything = [*EXAMPLES[rule.id].passing.resources, *EXAMPLES[rule.id].failing.resources]
    for original in (each for each in everything if each.kind and each.properties.get("kind")):
        metadata = {"name": "patched", "namespace": "models", "labels": {"team": "research"}}
        patch = resource(f"{original.type}Patch", {"kind": original.kind, "metadata": metadata, "spec": {}})
        assert patch.kind == original.kind
        assert violations(rule, Stack([patch])) == []


def test_a_custom_kind_may_be_called_patch() -> None:
    assert resource("kubernetes:ops.example.com/v1:NodePatch", {"kind": "NodePatch"}).kind == "NodePatch"
    assert resource("kubernetes:ops.example.com/v1:NodePatchPatch", {"kind": "NodePatch"}).kind == "NodePatch"


# Network policies


@pytest.mark.parametrize("everything", [{}, {"from": []}, {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, {"from": [
    {"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]}])  # fmt: skip
def test_a_policy_that_lets_everything_through_limits_nothing(everything: Any) -> None:
    deny, allow = policy(OPEN), policy({**OPEN, "ingress": [everything], "policyTypes": ["Ingress"]})
    pod, namespace = deployment(containers=[]), resource("kubernetes:core/v1:Namespace", {"metadata": {"name": "models"}})
    assert said("network-policy-pod", pod, deny) == []
    assert said("network-policy-default-deny", namespace, deny) == []
    assert said("network-policy-pod", pod, deny, allow) == ["NetworkPolicy p lets all ingress of its pods through"]
    assert said("network-policy-default-deny", namespace, deny, allow)


@pytest.mark.parametrize(
    "limited",
    [
        {"ports": [{"port": 8000}]},
        {"from": [{"podSelector": {}}]},
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]},
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        UNKNOWN,
    ],
)
def test_a_policy_with_any_limit_limits(limited: Any) -> None:
    assert said("network-policy-pod", deployment(containers=[]), policy({**OPEN, "ingress": [limited]})) == []


# What is not known


def test_a_policy_of_unknown_namespace_that_selects_other_pods_hides_nothing() -> None:
    other = policy({**OPEN, "podSelector": {"matchLabels": {"app": "other"}}}, namespace=UNKNOWN)
    this = policy({**OPEN, "podSelector": {"matchLabels": {"app": "server"}}}, namespace=UNKNOWN)
    assert said("network-policy-pod", deployment(containers=[]), other) == [
        "no NetworkPolicy limits the egress and ingress of its pods"
    ]
    assert said("network-policy-pod", deployment(containers=[]), this) == []


def test_what_is_in_a_namespace_that_has_no_name_yet_is_judged_by_where_the_name_comes_from() -> None:
    """In the first preview of a cluster: the namespace's name is an output, and everything in it has that for its place."""
    metadata = {"name": UNKNOWN, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    token = "kubernetes:core/v1:Namespace"
    mine, other = (resource(token, {"metadata": metadata}, name) for name in ("mine", "other"))

    def within(original: Resource, namespace: Resource) -> Resource:
        return resource(original.type, original.properties, original.name, origins={"metadata": [namespace.urn]})

    pod = within(deployment(namespace=UNKNOWN, hostPID=True, containers=[]), mine)
    denies = policy(OPEN, namespace=UNKNOWN)
    assert said("network-policy-pod", pod, mine, other, within(denies, mine)) == []
    assert said("network-policy-pod", pod, mine, other, within(denies, other)) != []
    assert len(said("network-policy-default-deny", mine, other, within(denies, mine))) == 1
    assert said("pod-security-level", pod, mine, other) == [
        "hostPID is true, which the level restricted of its namespace forbids"
    ]
    assert said("network-policy-pod", pod, mine, other, denies) == []


def test_a_bucket_is_known_by_where_its_name_comes_from() -> None:
    token = "aws:s3/bucket:Bucket"
    guarded, bare = (resource(token, {"id": UNKNOWN, "bucket": UNKNOWN}, name) for name in ("guarded", "bare"))
    block = EXAMPLES["bucket-private"].passing.resources[1]
    of_one = resource(block.type, {**block.properties, "bucket": UNKNOWN}, origins={"bucket": [guarded.urn]})
    found = violations(RULE["bucket-private"], Stack([guarded, bare, of_one]))
    assert [finding.resource for finding in found] == [bare]


def test_an_account_is_bound_only_where_its_name_may_come_from() -> None:
    accounts = {name: placed("core/v1:ServiceAccount", name) for name in ("controller", "server")}
    binding = resource(
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
        {"metadata": {"name": "b", "namespace": "models"}, "subjects": [{"name": UNKNOWN, "namespace": UNKNOWN}]},
        origins={"subjects": [accounts["controller"].urn]},
    )
    named = [deployment(name, serviceAccountName=name, containers=[]) for name in accounts]
    found = violations(RULE["token-mounted"], Stack([*accounts.values(), binding, *named]))
    assert [finding.resource.name for finding in found] == ["server"]


def test_the_engine_tells_where_values_come_from() -> None:
    """Also of resources whose properties it does not hand over a second time."""
    token = "aws:s3/bucket:Bucket"
    unknown: dict[str, Any] = {"bucket": rpc.UNKNOWN}
    blocked = {**EXAMPLES["bucket-private"].passing.resources[1].properties, **unknown}
    block_token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"

    def message(kind: str, name: str, properties: Mapping[str, Any], **origins: Any) -> Any:
        found = proto.AnalyzerResource(type=kind, name=name, urn=f"urn:{name}")
        json_format.ParseDict(dict(properties), found.properties)
        for key, urns in origins.items():
            found.propertyDependencies[key].urns.extend(urns)
        return found

    buckets = [message(token, name, {"id": rpc.UNKNOWN, **unknown}) for name in ("guarded", "bare")]
    analyzer = Analyzer()
    request = proto.AnalyzeRequest(type=block_token, name="block", urn="urn:block")
    json_format.ParseDict(blocked, request.properties)
    analyzer.Analyze(request, None)
    for block in (
        message(block_token, "block", blocked, bucket=["urn:guarded"]),
        message(block_token, "block", {}, bucket=["urn:guarded"]),
    ):
        answer = analyzer.AnalyzeStack(proto.AnalyzeStackRequest(resources=[*buckets, block]), None)
        assert [each.urn for each in answer.diagnostics if each.policyName == "bucket-private"] == ["urn:bare"]


# Engines


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.6.0", "0.6.0"),
        ("vllm/vllm-openai:v0.8.5.post1-cu121", "0.8.5"),
        ("registry.example.com:5000/mirror/vllm-openai:v0.6.0", "0.6.0"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:0.6.0@sha256:" + "a" * 64, "0.6.0"),
        ("vllm/vllm-openai-rocm:v0.6.0", "0.6.0"),
        ("vllm/vllm-openai@sha256:" + "a" * 64, None),
    ],
)
def test_an_image_of_vllm_is_known_by_its_name_whatever_it_runs(image: str, version: str | None) -> None:
    for command in ([], ["python3", "serve.py"], UNKNOWN):
        (found,) = engines(next(pods(engine(image, command=command))))
        assert found.version == version
        assert bool(said("engine-version", engine(image, command=command))) == (version is not None)


@pytest.mark.parametrize(
    "image", ["docker.io/lmcache/vllm-openai:v0.3.9", "example.com/vllm-router:v0.1.0", "example.com/novllm:0.1.0"]
)
def test_an_image_of_something_else_is_not(image: str) -> None:
    assert list(engines(next(pods(engine(image))))) == []


@pytest.mark.parametrize(
    "command",
    [
        ["vllm", "serve", "x", "--trust-remote-code"],
        ["/usr/local/bin/vllm", "serve", "x", "--trust-remote-code"],
        ["tini", "--", "vllm", "serve", "x", "--trust-remote-code"],
        ["python3", "-u", "-m", "vllm.entrypoints.openai.api_server", "--model", "x", "--trust_remote_code"],
        ["python3", "/opt/vllm/entrypoints/openai/api_server.py", "--trust-remote-code"],
        ["sh", "-c", "vllm serve x --trust-remote-code"],
        [
            "/bin/bash",
            "-lc",
            "set -e; ray start --head\nexec vllm serve $MODEL \\\n  --seed=1 --trust-remote-code > /tmp/log 2>&1 &\nwait",
        ],
        ["sh", "-c", 'exec vllm serve x "$@"', "sh", "--seed", "1", "--trust-remote-code"],
        ["bash", "-c", "python3 -m vllm.entrypoints.openai.api_server --model 'x' --max-model-len $(cat /n) --trust-remote-code"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.33.0", "vllm/vllm-openai:v0.6.0", "example.com/own:1", UNKNOWN])
def test_vllm_is_known_by_the_words_of_its_command(command: list[str], image: Any) -> None:
    for container in ({"command": command}, {"command": command[:2], "args": command[2:]}, {"command": [*command, UNKNOWN]}):
        sentences = said("engine-arguments", engine(image, **container))
        assert len(sentences) == 1
        assert "is refused: code from the model's repository" in sentences[0]


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["python3", "-c", "pass"], "args": ["--trust-remote-code"]},
        {"command": ["sh", "-c", "vllm bench serve --trust-remote-code"]},
        {
            "command": [
                "sh",
                "-c",
                "# vllm serve x --trust-remote-code\nvllm serve x --seed $SEED --port=8000 2>&1 | tee '/tmp/a b'",
            ]
        },
        {"args": ["x", "--max-model-len", UNKNOWN, UNKNOWN]},
    ],
)
def test_other_commands_pass(container: dict[str, Any]) -> None:
    assert said("engine-arguments", engine(**container)) == []


def test_a_release_without_tables_may_have_flags_and_variables_of_its_own() -> None:
    own: dict[str, Any] = {"args": ["x", "--flag-of-then", "1"], "env": [{"name": "VLLM_VARIABLE_OF_THEN", "value": "1"}]}
    assert said("engine-arguments", engine("example.com/vllm:v0.30.0", **own)) == []
    assert said("engine-environment", engine("example.com/vllm:v0.30.0", **own)) == []
    assert said("engine-arguments", engine(**own)) != []
    assert said("engine-environment", engine(**own)) != []


DEV_MODE = "VLLM_SERVER_DEV_MODE"


@pytest.mark.parametrize(
    "container",
    [
        {"env": [{"name": UNKNOWN, "value": "x"}, {"name": "A", "value": UNKNOWN}, {"name": DEV_MODE, "value": "1"}]},
        {"env": [{"name": DEV_MODE, "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}]},
        {"envFrom": [{"configMapRef": {"name": UNKNOWN}}, {"prefix": "VLLM_", "configMapRef": {"name": "settings"}}]},
        {"command": ["sh", "-c", f"{DEV_MODE}=1 vllm serve x"]},
        {"command": ["sh", "-c", f"export {DEV_MODE}=1 TOKEN=$(cat /t) && exec vllm serve x"]},
        {"command": ["env", f"{DEV_MODE}=1", "vllm", "serve", "x"]},
    ],
)
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.33.0", "vllm/vllm-openai@sha256:" + "a" * 64])
def test_the_environment_is_seen_wherever_it_comes_from(container: dict[str, Any], image: str) -> None:
    data = (
        {"mode": "1", "SERVER_DEV_MODE": "1", "LATER": UNKNOWN}
        if "env" in container
        else {"SERVER_DEV_MODE": "1", "LATER": UNKNOWN}
    )
    settings = placed("core/v1:ConfigMap", "settings", data=data)
    other = placed("core/v1:ConfigMap", "settings", namespace="elsewhere", data={"mode": "0", "SERVER_DEV_MODE": "0"})
    (sentence,) = said("engine-environment", settings, other, engine(image, **container))
    assert sentence.startswith(f"{DEV_MODE} is refused")


# Networks


def test_everybody_is_everybody_in_any_number_of_parts() -> None:
    assert all(map(everybody, (["0.0.0.0/0"], ["::/0"], ["2000::/3"])))
    assert everybody(["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"]) == ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"]
    assert everybody(f"{first}.0.0.0/8" for first in range(256))
    assert everybody(["10.0.0.0/8", "172.16.0.0/12", "203.0.113.0/24", "fc00::/7", "fe80::/10", UNKNOWN, "a name"]) == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (
            "open-ingress",
            resource(
                "aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["0.0.0.0/1", "128.0.0.0/1"], **EVERY_PORT}]}
            ),
        ),
        (
            "public-cluster-api",
            resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": ["0.0.0.0/1", "128.0.0.0/1"]}}),
        ),
        ("public-service", placed("core/v1:Service", spec={"type": "LoadBalancer", "loadBalancerSourceRanges": ["0.0.0.0/0"]})),
        (
            "public-service",
            resource(
                "kubernetes:networking.k8s.io/v1:Ingress",
                {"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": "internet-facing"}}},
            ),
        ),
        ("public-load-balancer", resource("aws:lb/loadBalancer:LoadBalancer", {"internal": False})),
        # Identity
        (
            "iam-administrator",
            resource("aws:iam/role:Role", {"managedPolicyArns": [UNKNOWN, "arn:aws:iam::aws:policy/AdministratorAccess"]}),
        ),
        (
            "iam-administrator",
            resource(
                "aws:iam/policyAttachment:PolicyAttachment", {"policyArn": "arn:aws-us-gov:iam::aws:policy/AdministratorAccess"}
            ),
        ),
        (
            "iam-scoped",
            resource(
                "aws:iam/role:Role",
                {
                    "inlinePolicies": [
                        {"policy": UNKNOWN},
                        {"policy": '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'},
                    ]
                },
            ),
        ),
        # Secrets
        ("secret-literal", deployment(containers=[{"args": ["--password", "Sup3rS3cretPassw0rd"]}])),
        ("secret-literal", deployment(containers=[{"command": ["sh", "-c", "serve --db-password=Sup3rS3cret"]}])),
        ("secret-literal", deployment(containers=[{"env": [{"name": "DATABASE", "value": "postgres://u:Sup3rS3cret@db/x"}]}])),
        (
            "secret-literal",
            deployment(containers=[{"env": [{"name": "X", "value": "dR9/kTb2xVqL7nWz+Ym4Pc8Hs1Jf6Ga3Ue5Ko0B/"}]}]),
        ),
        (
            "secret-literal",
            placed(
                "apps/v1:Deployment",
                spec={"template": {"metadata": {"annotations": {"x": "hf_Xq7Lm2Rt9Vb4Nc8Kp1Wz"}}, "spec": {}}},
            ),
        ),
        # Nodes: a window of an hour leaves the others open.
        (
            "karpenter-consolidation",
            resource(
                "kubernetes:karpenter.sh/v1:NodePool",
                {
                    "spec": {
                        "limits": {"nvidia.com/gpu": 8},
                        "disruption": {
                            "consolidateAfter": "2h",
                            "budgets": [{"nodes": "0", "schedule": "0 9 * * *", "duration": "1h"}],
                        },
                    }
                },
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.shown,
)
def test_other_ways_to_break_a_rule(rule: str, broken: Resource) -> None:
    assert said(rule, broken)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (
            "public-service",
            placed("core/v1:Service", spec={"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"]}),
        ),
        ("public-service", placed("networking.k8s.io/v1:Ingress")),
        (
            "secret-literal",
            deployment(containers=[{"args": ["--token", "$(TOKEN)", "--password", "/run/secrets/p", "--api-key", "--x"]}]),
        ),
        (
            "secret-literal",
            deployment(containers=[{"args": ["--tls-secret", "gateway-tls", "postgres://$(U):$(P)@db", UNKNOWN]}]),
        ),
        ("secret-literal", deployment(containers=[{"env": [{"name": "X", "value": "/usr/local/lib/python3.12/site-packages"}]}])),
    ],
)
def test_what_is_like_them_is_kept(rule: str, kept: Resource) -> None:
    assert said(rule, kept) == []
