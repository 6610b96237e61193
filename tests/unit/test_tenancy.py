"""Who shares a cluster, what each may take, and what the settings refuse."""

from functools import partial
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pytest
import yaml
from pydantic import ValidationError

from components.cluster import EksCluster
from components.inputs import InputError, validate
from components.security import Namespace, PodSecurityLevel, PriorityClasses, PriorityClassesArgs, Tenant
from components.security.admission import content_policy
from components.security.admission_rules import Allowed
from components.security.quotas import accelerator_quota, default_resources
from components.security.roles import deployer_rules
from settings.sections import Settings
from settings.tenants import (
    TenantSettings,
    Use,
    check_deployers,
    check_namespaces,
    check_quotas,
    check_uses,
    spare,
    team_of,
    tenant_principals,
)
from tests.conftest import ROOT
from tests.contracts.examples import EXAMPLES, build
from tests.recorder import Recording, record
from tests.unit.test_eks_cluster import ARGS

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-3g.40gb"
PREFIX = "llm-platform:"
ADMISSION = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmission"
ADMIN, DEPLOYER = "arn:aws:iam::123456789012:role/platform-admin", "arn:aws:iam::123456789012:role/research-deployer"


def tenants(**given: dict[str, Any]) -> dict[str, TenantSettings]:
    return {team: TenantSettings.model_validate(settings) for team, settings in given.items()}


def research(**settings: Any) -> dict[str, TenantSettings]:
    return tenants(research={"namespaces": {"research": {"accelerators": {GPU: 4}}, "lab": {}}, **settings})


def tenant(**changed: Any) -> Recording:
    args: Any = {
        "tenant": "research",
        "namespaces": {"research": {"accelerators": {GPU: 4}}, "lab": {}},
        "accelerator_resources": [GPU, MIG],
        "kubernetes_version": "1.36",
        "priority_classes": ["batch"],
        "deployer_groups": ["research-deployers"],
    }

    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig="{}")
        made = Tenant("t", args | changed, pulumi.ResourceOptions(provider=provider))
        for name, output in made.namespace_names.items():
            kubernetes.core.v1.ConfigMap(
                f"in-{name}", metadata={"namespace": output}, opts=pulumi.ResourceOptions(provider=provider)
            )

    return record(program)


def test_a_quota_names_every_accelerator_of_the_cluster_granted_or_not() -> None:
    assert accelerator_quota({GPU: 4}, [MIG, GPU]) == {
        "hard": {
            f"requests.{GPU}": "4",
            f"requests.{MIG}": "0",
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        }
    }


def test_every_namespace_has_all_that_guards_it() -> None:
    made = [
        (resource.type.removeprefix("kubernetes:"), resource.inputs["metadata"].get("namespace"))
        for resource in tenant().resources
        if resource.on_kubernetes
    ]
    for namespace in ("research", "lab"):
        assert {kind for kind, where in made if where == namespace} == {
            "core/v1:ConfigMap",
            "core/v1:LimitRange",
            "core/v1:ResourceQuota",
            "core/v1:ServiceAccountPatch",
            "rbac.authorization.k8s.io/v1:Role",
            "rbac.authorization.k8s.io/v1:RoleBinding",
        }


def test_what_comes_into_a_namespace_comes_after_its_guards_and_goes_before_them() -> None:
    recording = tenant()
    known = {each.urn: each for each in recording.resources}
    for inside in recording.of("kubernetes:core/v1:ConfigMap"):
        before: set[str] = set()
        waiting = [inside.urn]
        while waiting:
            new = known[waiting.pop()].dependencies - before
            before |= new
            waiting += new
        assert {known[urn].type.rpartition(":")[2] for urn in before} >= {
            "LimitRange",
            "Namespace",
            "ResourceQuota",
            "RoleBinding",
            "ServiceAccountPatch",
            "ValidatingAdmissionPolicyBinding",
        }


def test_without_deployers_there_are_no_rights() -> None:
    kinds = {r.type.removeprefix("kubernetes:") for r in tenant(deployer_groups=[]).resources}
    assert not [kind for kind in kinds if kind.startswith(("admissionregistration", "rbac"))]
    assert "core/v1:ResourceQuota" in kinds


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"namespaces": {"lab": {"accelerators": {"amd.com/gpu": 1}}}}, "no pool offers amd.com/gpu; known: nvidia.com/gpu, "),
        ({"namespaces": {"lab": {"accelerators": {GPU: -1}}}}, "-1 is fewer than none; use e.g. 4"),
        ({"namespaces": {}}, "namespaces is empty; add an entry"),
        ({"deployer_groups": ["system:authenticated"]}, "system:authenticated is a group of Kubernetes' own"),
        ({"deployer_groups": ["system:masters"]}, "system:masters is a group of Kubernetes' own"),
        ({"deployer_groups": [""]}, "'' is not the name of a deployers' group; use e.g. research-deployers"),
        ({"deployer_groups": ["  "]}, "'  ' is not the name of a deployers' group"),
        ({"deployer_groups": ["system:serviceaccounts"]}, "system:serviceaccounts is a group of Kubernetes' own"),
        ({"deployer_groups": ["system:serviceaccounts:"]}, "system:serviceaccounts: is a group of Kubernetes' own"),
        ({"deployer_groups": ["system:serviceaccounts:kube-system"]}, "kube-system are the accounts of a namespace that"),
        ({"deployer_groups": ["system:serviceaccounts:lab"]}, "system:serviceaccounts:lab are the accounts of a namespace that"),
        ({"kubernetes_version": "1.29"}, "'1.29' is not a minor version of Kubernetes from 1.30 on"),
    ],
)
def test_tenants_that_cannot_be(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        tenant(**changed)
    assert said in str(refused.value)


def test_accounts_of_a_ci_system_in_the_cluster_may_deploy() -> None:
    (bound, _) = tenant(deployer_groups=["system:serviceaccounts:ci"]).of("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
    assert bound.inputs["subjects"][0]["name"] == "system:serviceaccounts:ci"


@pytest.mark.parametrize("name", ["kube-system", "default"])
def test_a_namespace_of_kubernetes_is_never_made(name: str) -> None:
    def program() -> None:
        Namespace("n", {"namespace_name": name, "level": PodSecurityLevel.BASELINE, "kubernetes_version": "1.36"})

    with pytest.raises(InputError, match=f"namespace_name: {name} is Kubernetes' own"):
        record(program)


def test_rights_name_what_they_give() -> None:
    """No wildcard, and none of the rights that lead to others (CIS EKS benchmark 4.1)."""
    leading = {
        "secrets",
        "serviceaccounts",
        "serviceaccounts/token",
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "nodes/proxy",
    }
    for rule in deployer_rules():
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not leading & set(rule["resources"])
        assert not {"bind", "escalate", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert rule["apiGroups"] != ["networking.k8s.io"]
        assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]


def test_names_cannot_break_out_of_an_expression() -> None:
    policy = content_policy(['a"] || true || "x'], Allowed([GPU], ["batch"], {}, {}))
    assert policy["matchConditions"][0]["expression"].endswith(r'g in ["a\"] || true || \"x"])')


def test_limits_change_nothing_that_the_platform_makes() -> None:
    """A LimitRange adds what is missing, so a pod that lacks nothing stays as it is."""
    (given,) = default_resources()["limits"]
    seen = 0
    for component in EXAMPLES:
        for resource in record(partial(build, component, "example")).resources:
            for template in _templates(resource.inputs):
                for container in (*template["containers"], *template.get("initContainers", ())):
                    stated, seen = container.get("resources", {}), seen + 1
                    assert stated.get("requests", {}).keys() >= given["defaultRequest"].keys(), (resource.urn, container["name"])
                    assert stated.get("limits", {}).keys() >= given["default"].keys(), (resource.urn, container["name"])
    assert seen > 5


def _templates(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        here = [value] if isinstance(value.get("containers"), list) else []
        return here + [found for part in value.values() for found in _templates(part)]
    return [found for part in value for found in _templates(part)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("level", "limited"),
    [(PodSecurityLevel.RESTRICTED, True), (PodSecurityLevel.BASELINE, False), (PodSecurityLevel.PRIVILEGED, False)],
)
def test_only_restricted_namespaces_fill_in_limits(level: PodSecurityLevel, limited: bool) -> None:
    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig="{}")
        Namespace(
            "n",
            {"namespace_name": "n", "level": level, "kubernetes_version": "1.36"},
            pulumi.ResourceOptions(provider=provider),
        )

    recording = record(program)
    assert bool(recording.of("kubernetes:core/v1:LimitRange")) is limited
    assert recording.one("kubernetes:core/v1:ServiceAccountPatch").inputs["automountServiceAccountToken"] is False


def priorities(args: PriorityClassesArgs) -> Recording:
    def program() -> None:
        PriorityClasses("p", args, pulumi.ResourceOptions(provider=kubernetes.Provider("cluster", kubeconfig="{}")))

    return record(program)


def test_serving_goes_before_batch_and_batch_drives_nobody_away() -> None:
    classes = {made.name: made.inputs for made in priorities({}).of("kubernetes:scheduling.k8s.io/v1:PriorityClass")}
    serving, batch = classes["p-serving"], classes["p-batch"]
    assert serving["value"] > batch["value"] > 0
    assert (serving["preemptionPolicy"], batch["preemptionPolicy"]) == ("PreemptLowerPriority", "Never")
    with pytest.raises(InputError, match="serving_value: 5 is not above batch_value 1000"):
        priorities({"serving_value": 5})


def test_a_team_has_a_namespace_of_its_name_and_no_accelerators() -> None:
    found = tenants(research={})["research"]
    assert {name: dict(namespace.accelerators) for name, namespace in found.named("research").items()} == {"research": {}}
    assert found.groups("research") == ()
    assert team_of({"research": found}, "research") == "research"
    assert team_of({"research": found}, "models") is None


def test_principals_are_in_a_group_of_their_team() -> None:
    both = tenants(
        research={"deployers": {"principals": [DEPLOYER], "groups": ["research-deployers"]}},
        vision={"deployers": {"principals": [DEPLOYER]}},
    )
    assert both["research"].groups("research") == ("research-deployers", "llm-platform:research")
    assert tenant_principals(both) == {DEPLOYER: ["llm-platform:research", "llm-platform:vision"]}


@pytest.mark.parametrize(
    ("given", "platform", "said"),
    [
        ({"models": {}}, {"models": "models"}, "tenants.models.namespaces: models belongs to namespaces.models already"),
        ({"a": {}, "b": {"namespaces": {"a": {}}}}, {}, "tenants.b.namespaces: a belongs to tenants.a already"),
        ({"kube-system": {}}, {}, "kube-system belongs to Kubernetes itself already"),
        ({"edge": {}}, {}, "tenants.edge.namespaces: edge belongs to networkPolicies.(gateway|scraper) already"),
        ({"eso": {}}, {}, "tenants.eso.namespaces: eso belongs to secrets.operator already"),
        ({}, {"controllers": "kube-system"}, "namespaces.controllers: kube-system belongs to Kubernetes itself already"),
        ({}, {"models": "default"}, "namespaces.models: default belongs to Kubernetes itself already"),
        ({}, {"models": "x", "nodeAgents": "x"}, "namespaces.nodeAgents: x belongs to namespaces.models already.* e.g. llm-x$"),
        ({}, {"models": "eso"}, "namespaces.models: eso belongs to secrets.operator already"),
    ],
)
def test_a_namespace_belongs_to_one(given: Any, platform: dict[str, str], said: str) -> None:
    others = {"networkPolicies.gateway": "edge", "networkPolicies.scraper": "edge", "secrets.operator": "eso"}
    check_namespaces(tenants(research={}), {"namespaces.models": "models"}, others | {"networkPolicies.dns": "kube-system"})
    with pytest.raises(ValueError, match=said):
        check_namespaces(tenants(**given), {f"namespaces.{role}": name for role, name in platform.items()}, others)


NOBODYS: dict[str, tuple[dict[str, Any], str]] = {
    "the platform's own": ({"namespaces": {"controllers": "kube-system"}}, "namespaces.controllers: kube-system belongs to"),
    "the gateway's": ({"tenants": {"gateway": {}}}, "gateway belongs to networkPolicies.gateway already"),
    "the scraper's": ({"tenants": {"monitoring": {}}}, "monitoring belongs to networkPolicies.scraper already"),
    "Vault's": (
        {
            "tenants": {"vault": {}},
            "networkPolicies": {"secretStore": {"pods": {"namespace": "vault", "pods": {"app": "vault"}}}},
        },
        "vault belongs to networkPolicies.secretStore.pods already",
    ),
    "the resolver's": (
        {"tenants": {"dns": {}}, "networkPolicies": {"dns": {"namespace": "dns"}}},
        "dns belongs to networkPolicies.dns already",
    ),
    "the operator's": (
        {
            "tenants": {"eso": {}},
            "secrets": {
                "store": {"kind": "vault", "server": "https://v:8200", "role": "llm"},
                "operator": {"namespace": "eso"},
            },
        },
        "eso belongs to secrets.operator already",
    ),
    "the controllers' as deployers": (
        {"tenants": {"r": {"deployers": {"groups": ["system:serviceaccounts:controllers"]}}}},
        "tenants.r.deployers.groups: system:serviceaccounts:controllers are the accounts of",
    ),
    "another team's as deployers": (
        {"tenants": {"r": {"deployers": {"groups": ["system:serviceaccounts:s"]}}, "s": {}}},
        "tenants.r.deployers.groups: system:serviceaccounts:s are the accounts of",
    ),
    "the gateway's as deployers": (
        {"tenants": {"r": {"deployers": {"groups": ["system:serviceaccounts:gateway"]}}}},
        "tenants.r.deployers.groups: system:serviceaccounts:gateway are the accounts of",
    ),
    "nobody's as deployers": ({"tenants": {"r": {"deployers": {"groups": [" "]}}}}, "tenants.r.deployers.groups: ' ' is not"),
    "an old cluster": ({"cluster": {"kubernetesVersion": "1.29"}}, "cluster.kubernetesVersion: '1.29' is not a minor version"),
    "a class of the nodes": (
        {"models": {"qwen2-5-7b": {"priorityClassName": "system-node-critical"}}},
        "models.qwen2-5-7b.priorityClassName: system-node-critical is for what nodes",
    ),
}
"""What a stack file says, and what it is told."""


def merged(given: Any, changes: Any) -> Any:
    if not (isinstance(given, dict) and isinstance(changes, dict)):
        return changes
    return given | {key: merged(given.get(key), value) for key, value in changes.items()}


@pytest.mark.parametrize("whose", NOBODYS)
def test_stack_files_cannot_name_what_is_somebody_elses(whose: str) -> None:
    changes, said = NOBODYS[whose]
    sections = yaml.safe_load((ROOT / "stacks" / "Pulumi.models.yaml").read_text())["config"]
    given = {key.removeprefix(PREFIX): value for key, value in sections.items() if key.startswith(PREFIX)}
    validate(Settings, given, "models")
    with pytest.raises(InputError) as refused:
        validate(Settings, merged(given, changes), "models")
    assert said in str(refused.value)


def test_rights_come_after_admission_and_go_before_it() -> None:
    """Whoever may make a pod and is held by no policy may mount every Secret beside it."""
    recording = tenant()
    policies = {made.urn for made in recording.of(f"{ADMISSION}PolicyBinding")}
    assert len(policies) == 5
    bound = recording.of("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
    assert len(bound) == 2
    for rights in bound:
        assert rights.dependencies >= policies


def test_quotas_are_of_what_the_cluster_has() -> None:
    check_quotas(research(), {GPU})
    with pytest.raises(ValueError, match=rf"tenants.research.namespaces.research.accelerators: no pool .* {GPU}; known: {MIG}"):
        check_quotas(research(), {MIG})
    with pytest.raises(ValueError, match="known: none; add a pool"):
        check_quotas(research(), set())
    with pytest.raises(ValidationError, match="-1 is fewer than none"):
        tenants(research={"namespaces": {"a": {"accelerators": {GPU: -1}}}})


def test_principals_are_for_eks_and_of_the_team_alone() -> None:
    given = research(deployers={"principals": [DEPLOYER]})
    check_deployers(given, on_eks=True, others=[ADMIN])
    with pytest.raises(ValueError, match=r"tenants.research.deployers.principals: only a cluster of kind eks"):
        check_deployers(given, on_eks=False)
    with pytest.raises(ValueError, match=r"is one of cluster\.adminPrincipals or viewerPrincipals already"):
        check_deployers(given, on_eks=True, others=[DEPLOYER])
    with pytest.raises(ValueError, match="is named twice"):
        check_deployers(research(deployers={"principals": [DEPLOYER, DEPLOYER]}), on_eks=True)
    with pytest.raises(ValueError, match="has the name of a principal of another account"):
        check_deployers(given, on_eks=True, others=[DEPLOYER.replace("123456789012", "210987654321")])


def use(model: str, replicas: int, accelerators: int = 1, **changed: str) -> Use:
    return Use(model, changed.get("namespace", "research"), changed.get("resource", GPU), accelerators, replicas)


def test_models_stay_within_the_quota_and_the_rest_is_room_for_rollouts() -> None:
    given = research()
    fits = [use("qwen", 2), use("elsewhere", 9, namespace="models"), use("llama", 1)]
    check_uses(given, fits)
    assert spare(given, fits, "research", GPU) == 1
    assert spare(given, fits, "models", GPU) is None
    full = [*fits, use("big", 1)]
    check_uses(given, full)
    assert spare(given, full, "research", GPU) == 0
    with pytest.raises(ValueError, match="need 7") as refused:
        check_uses(given, [use("qwen", 3), use("llama", 1, 4)])
    assert str(refused.value) == (
        "tenants.research.namespaces.research.accelerators: its models need 7 nvidia.com/gpu (qwen 3 x 1 + llama 1 x 4; "
        "replicas x accelerators), but 4 are granted; grant nvidia.com/gpu: 7, or give models fewer replicas"
    )
    with pytest.raises(ValueError, match="but 0 are granted"):
        check_uses(given, [use("sliced", 1, resource=MIG)])


def eks(tenant_groups: dict[str, list[str]]) -> Recording:
    args: Any = ARGS | {"tenant_principals": tenant_groups}

    def program() -> None:
        EksCluster("c", args, pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")]))

    return record(program)


def test_principals_of_a_tenant_are_in_its_groups_and_have_no_access_policy() -> None:
    recording = eks({DEPLOYER: ["llm-platform:research"]})
    (entry,) = [r for r in recording.of("aws:eks/accessEntry:AccessEntry") if r.inputs["principalArn"] == DEPLOYER]
    assert entry.inputs["kubernetesGroups"] == ["llm-platform:research"]
    policies = recording.of("aws:eks/accessPolicyAssociation:AccessPolicyAssociation")
    assert policies
    assert DEPLOYER not in [r.inputs["principalArn"] for r in policies]


@pytest.mark.parametrize(
    ("tenant_groups", "said"),
    [
        ({DEPLOYER: ["system:masters"]}, "tenantPrincipals: .*research-deployer cannot be in system:masters"),
        ({DEPLOYER: ["eks:admins"]}, "cannot be in eks:admins"),
        ({ADMIN: ["research"]}, "tenantPrincipals: .*platform-admin is named twice"),
        ({"research-deployer": ["research"]}, "is not the ARN of an IAM role or user"),
    ],
)
def test_entries_that_eks_would_refuse(tenant_groups: dict[str, list[str]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        eks(tenant_groups)
