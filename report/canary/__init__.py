"""Whether the next version of a model may take over: what Prometheus measured of the versions of its route, and an answer."""

from report.canary.decision import Decision, Finding, Verdict, decide
from report.canary.edit import Edit, edit_for
from report.canary.measuring import Measured, Prometheus, measure
from report.canary.rollout import Rollout, rollouts
from report.canary.rules import Rules, read_rules
from report.canary.text import as_json, as_text

__all__ = [
    "Decision",
    "Edit",
    "Finding",
    "Measured",
    "Prometheus",
    "Rollout",
    "Rules",
    "Verdict",
    "as_json",
    "as_text",
    "decide",
    "edit_for",
    "measure",
    "read_rules",
    "rollouts",
]
