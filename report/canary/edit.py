"""The edit of the stack file that a decision asks for. Pure."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from report.canary.decision import Decision, Verdict


@dataclass(frozen=True)
class Edit:
    """What to change in a stack file."""

    file: str
    text: str
    """A sentence."""
    diff: str = ""
    """The same as a patch from the root of the project; empty where it takes more than one value."""


def edit_for(verdict: Verdict, file: str, content: str) -> Edit | None:
    """The edit of `file`, which has this `content`; None where there is nothing to change yet."""
    rollout, key = verdict.rollout, f"traffic.routes.{verdict.rollout.route}"
    canary, others = rollout.canary, ", ".join(rollout.stable)
    match verdict.decision:
        case Decision.WAIT:
            return None
        case Decision.ROLL_BACK if not rollout.step:
            return Edit(file, f"remove {key}.versions.{canary}.headers: no request reaches {canary}")
        case Decision.ROLL_BACK:
            left = f"; those with its headers do until you remove {key}.versions.{canary}.headers" if rollout.headers else ""
            text = f"set {key}.rollout.step to 0: no request reaches {canary}{left}"
            return Edit(file, text, _diff(file, content, rollout.route, 0))
        case Decision.PROMOTE if not rollout.last:
            text = f"set {key}.rollout.step to {rollout.step + 1}: {canary} gets {rollout.steps[rollout.step]} % of the requests"
            return Edit(file, text, _diff(file, content, rollout.route, rollout.step + 1))
        case Decision.PROMOTE if rollout.percent < 100:
            return Edit(file, f"add a last step of 100 to {key}.rollout.steps and set step to {rollout.step + 1}")
        case Decision.PROMOTE:
            models = " and ".join(f"models.{other}" for other in rollout.stable)
            text = f"{canary} has all requests: remove {key}.rollout and {others} from {key}.versions, and after that {models}"
            return Edit(file, text)


def _diff(file: str, content: str, route: str, step: int) -> str:
    changed = with_value(content, ("config", "llm-platform:traffic", "routes", route, "rollout"), "step", step)
    before, after = (text.splitlines(keepends=True) for text in (content, changed))
    return "".join(difflib.unified_diff(before, after, f"a/{file}", f"b/{file}"))


def with_value(content: str, path: Sequence[str], key: str, value: int) -> str:
    """YAML text with another value of `key` in the mapping at `path`, and everything else as it was written."""
    node = yaml.compose(content)
    for step in path:
        node = _of(node, step)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - it was read as settings before
    found = [each for name, each in node.value if name.value == key]
    if found:
        start, end, text = found[0].start_mark.index, found[0].end_mark.index, str(value)
    else:
        start = end = node.value[0][0].start_mark.index
        indent = " " * node.value[0][0].start_mark.column
        text = f"{key}: {value}, " if node.flow_style else f"{key}: {value}\n{indent}"
    return content[:start] + text + content[end:]


def _of(node: yaml.Node | None, key: str) -> yaml.Node:
    assert isinstance(node, yaml.MappingNode)  # noqa: S101
    found: yaml.Node = next(each for name, each in node.value if name.value == key)
    return found
