"""Every rule of the policy pack: what keeps it, what breaks it, what it cannot know yet, and what it never shows."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.inputs import InputError, validate
from policy_pack.choices import Policies
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Level, Rule
from policy_pack.rules import RULES
from policy_pack.server import message
from policy_pack.table import table
from policy_pack.values import UNKNOWN
from tests.policy_support import examples, violations

EXAMPLES = examples()


def test_every_rule_has_examples_and_every_example_a_rule() -> None:
    assert {rule.id for rule in RULES} == set(EXAMPLES)
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_what_why_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.id)
    assert rule.title.endswith(".")
    assert rule.reason.endswith(".")
    assert not rule.remedy.endswith(".")
    assert rule.source.startswith("https://")
    assert (rule.resource is None) != (rule.stack is None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_examples(rule: Rule) -> None:
    example = EXAMPLES[rule.id]
    assert violations(rule, example.passing) == []
    found = violations(rule, example.failing)
    assert [finding for finding in found if example.says in finding.sentence], found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_rule_stumbles_over_what_is_not_known_yet(rule: Rule) -> None:
    """With every value and every part of an example unknown in turn, a rule says nothing new and never fails."""
    example = EXAMPLES[rule.id]
    for number, resource in enumerate(example.passing.resources):
        for properties in _with_unknowns(resource.properties):
            changed = Resource(resource.urn, resource.type, resource.name, properties, resource.secrets, resource.protect)
            resources = [*example.passing.resources]
            resources[number] = changed
            assert violations(rule, Stack(resources, example.passing.config)) == [], properties
    for number, resource in enumerate(example.failing.resources):
        for properties in _with_unknowns(resource.properties):
            resources = [*example.failing.resources]
            resources[number] = Resource(resource.urn, resource.type, resource.name, properties, resource.secrets)
            violations(rule, Stack(resources))


def _with_unknowns(value: Any) -> Iterator[Any]:
    """The value with each of its parts unknown, one at a time."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            for changed in (UNKNOWN, *_with_unknowns(inner)):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for changed in (UNKNOWN, *_with_unknowns(inner)):
                yield [*value[:index], changed, *value[index + 1 :]]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.stack], ids=lambda rule: rule.id)
def test_what_is_not_known_of_one_resource_hides_nothing_of_another(rule: Rule) -> None:
    """Beside a resource of each kind that a rule looks at, elsewhere and with all or one part of it unknown, the rule objects."""
    example = EXAMPLES[rule.id]
    for resource in (*example.passing.resources, *example.failing.resources):
        for sibling in _elsewhere(resource):
            if violations(rule, Stack([sibling])):  # what names each thing once may name this one
                continue
            for resources in ([sibling, *example.failing.resources], [*example.failing.resources, sibling]):
                found = violations(rule, Stack(resources))
                said = [finding.sentence for finding in found if finding.resource is not sibling]
                assert [sentence for sentence in said if example.says in sentence], (sibling.shown, sibling.properties)


def _elsewhere(resource: Resource) -> Iterator[Resource]:
    """Resources of the same kind about something else, less and less of which is known."""
    metadata: dict[str, Any] = {"name": UNKNOWN, "namespace": "elsewhere", "labels": UNKNOWN, "annotations": UNKNOWN}
    if resource.kind == "Namespace":
        metadata = {"name": "elsewhere", "labels": UNKNOWN}
    place = {"metadata": metadata} if resource.kind else {}
    rest = {key: value for key, value in resource.properties.items() if key != "metadata"}
    if "bucket" in rest:
        rest |= dict.fromkeys(rest.keys() & {"bucket", "id"}, "elsewhere")
    for properties in (*_with_unknowns(rest), dict.fromkeys(rest, UNKNOWN)):
        origins = dict.fromkeys(properties, ("urn:elsewhere",))
        yield Resource("urn:sibling", resource.type, "sibling", {**properties, **place}, protect=True, origins=origins)


def test_one_unknown_part_does_not_hide_another() -> None:
    (rule,) = (rule for rule in RULES if rule.id == "image-pinned")
    example = EXAMPLES["image-pinned"].failing.resources[0]
    spec = {"template": {"spec": {"nodeSelector": UNKNOWN, "containers": [{"image": UNKNOWN}, {"image": "a/b:latest"}]}}}
    found = violations(rule, Stack([Resource(example.urn, example.type, "x", {"kind": "Deployment", "spec": spec})]))
    assert [finding.sentence for finding in found] == ["a/b:latest moves: a pod that restarts may run another engine"]


def test_no_sentence_shows_a_secret() -> None:
    """Whatever a rule quotes: a secret of the resource is blanked out."""
    canary = "docker.io/canary-4711/engine:latest"
    properties = {"kind": "Pod", "spec": {"containers": [{"image": canary}]}}
    resource = Resource("urn", "kubernetes:core/v1:Pod", "pod", properties, frozenset({("spec", "containers", 0, "image")}))
    said = [message(rule, finding) for rule in RULES for finding in violations(rule, Stack([resource], {}))]
    assert any("[secret] moves" in sentence for sentence in said)
    assert not any("4711" in sentence for sentence in said)


def test_an_exception_advises_and_shows_its_reason() -> None:
    rule = next(rule for rule in RULES if rule.level is Level.MANDATORY)
    other = next(each for each in RULES if each is not rule)
    policies = Policies(enforcement=Level.MANDATORY, exceptions={rule.id: "until the migration is over"})
    assert (policies.level(rule), policies.level(other)) == (Level.ADVISORY, Level.MANDATORY)
    finding = Finding(EXAMPLES[rule.id].failing.resources[0], "something is wrong")
    assert message(rule, finding, policies.exceptions[rule.id]).endswith("(excepted here: until the migration is over)")
    assert Policies().level(rule) is Level.MANDATORY
    assert Policies(enforcement=Level.ADVISORY).ends_previews is False
    assert policies.ends_previews is True


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            {"exceptions": {"image-pind": "because"}},
            "stack: exceptions: 'image-pind' is no rule of the policy pack; did you mean image-pinned?",
        ),
        ({"enforcement": "strict"}, "stack: enforcement: "),
        ({"enforcement": "disabled"}, "stack: enforcement: 'disabled' is not known; use 'advisory' or 'mandatory'"),
        ({"exceptions": {"image-pinned": ""}}, "stack: exceptions.image-pinned: '' is not a reason; use e.g. "),
        ({"exceptions": {"image-pinned": " \t"}}, "stack: exceptions.image-pinned: ' \\t' is not a reason; use e.g. "),
        ({"exemptions": {}}, "stack: exemptions is not a known setting; did you mean exceptions?"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        validate(Policies, section, "stack")


def test_the_page_has_every_rule_as_it_is(root: Path) -> None:
    """After a change of a rule: put what `python -m policy_pack.table` prints between the two marks of the page."""
    page = (root / "docs/policy-pack.md").read_text()
    assert page.partition("<!-- rules -->\n")[2].partition("<!-- /rules -->")[0] == table()


def test_a_secret_that_is_not_known_yet_is_seen_where_it_ends() -> None:
    (rule,) = (rule for rule in RULES if rule.id == "secret-exposed")
    place = ("data", "key")
    resource = Resource("urn", "kubernetes:core/v1:ConfigMap", "x", {"data": {"key": UNKNOWN}}, frozenset({place}))
    assert [finding.sentence.partition(" is")[0] for finding in violations(rule, Stack([resource]))] == ["data.key"]
