"""What the engine writes, read.

Two forms: its events, one JSON object a line (`PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true pulumi preview --json`, or
`python -m sandbox preview STACK --event-log FILE`; pulumi/pulumi sdk/go/common/apitype/events.go), and the digest of plain
`pulumi preview --json` (pkg/display/json.go), which has neither the stack's new outputs nor what rules say.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from components.inputs import InputError
from policy_pack.rule import Level
from report.blinding import blind
from report.preview.model import Change, Op, Preview, Violation

_STACK = "pulumi:pulumi:Stack"
_OPS = {
    "create": Op.CREATE,
    "update": Op.UPDATE,
    "delete": Op.DELETE,
    "replace": Op.REPLACE,
    "create-replacement": Op.REPLACE,
    "delete-replaced": Op.REPLACE,
    "discard-replaced": Op.REPLACE,
    "import": Op.IMPORT,
    "import-replacement": Op.REPLACE,
    "remove-pending-replace": Op.REPLACE,
    "forget": Op.FORGET,
}
"""All others leave what there is as it is."""
_AFTERMATH = "exited prematurely"
"""What the engine says of plugins once it has ended for another reason."""
_MARKUP = re.compile(r"<\{%.*?%\}>")


def read(text: str, where: str) -> Preview:
    """A preview; `where` names it in messages. Raises InputError where it is none."""
    try:
        return _preview(list(_events(text)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{where}: this is not a preview; give the events of one, e.g. of `python -m sandbox preview local --event-log FILE`"
        ) from None


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    start = text.lstrip()
    if not start:
        raise ValueError("nothing")
    first, end = json.JSONDecoder().raw_decode(start)
    if "steps" in first:
        yield from _of_digest(first)
        return
    yield first
    for line in start[end:].splitlines():
        if line.strip():
            yield json.loads(line)


def _of_digest(digest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for step in digest["steps"]:
        old, new = step.get("oldState"), step.get("newState")
        metadata = {
            "op": step["op"],
            "urn": step["urn"],
            "type": (old or new or {}).get("type", ""),
            "old": old,
            "new": new,
            "keys": step.get("replaceReasons"),
            "diffs": step.get("diffReasons"),
            "detailedDiff": step.get("detailedDiff"),
        }
        yield {"resourcePreEvent": {"metadata": metadata}}
    for said in digest.get("diagnostics") or []:
        yield {"diagnosticEvent": said}
    yield {"summaryEvent": {"resourceChanges": digest.get("changeSummary") or {}}}


def _preview(events: list[Mapping[str, Any]]) -> Preview:
    steps = [event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event]
    summaries = [event["summaryEvent"] for event in events if "summaryEvent" in event]
    told = [event["policyEvent"] for event in events if "policyEvent" in event]
    errors = list(_errors(event["diagnosticEvent"] for event in events if "diagnosticEvent" in event))
    if not steps and not summaries and not errors:
        raise ValueError("no event of a preview")
    outputs = [event["resOutputsEvent"]["metadata"] for event in events if "resOutputsEvent" in event]
    before, after = _outputs(steps, [step for step in outputs if step["type"] == _STACK])
    # The engine names it as no other key is, and the SDK for Python as all others.
    ran = any(summary.get("PolicyPacks") or summary.get("policyPacks") for summary in summaries)
    violations = tuple(dict.fromkeys(map(_violation, told))) if ran or told else None
    caused = [error for error in errors if _AFTERMATH not in error]
    if caused or any(each.level == Level.MANDATORY for each in violations or ()):
        errors = caused
    return Preview(
        changes=tuple(_changes(steps)),
        unchanged=_unchanged(steps, summaries),
        before=before,
        after=after,
        violations=violations,
        errors=tuple(dict.fromkeys(errors)),
    )


def _unchanged(steps: Iterable[Mapping[str, Any]], summaries: Iterable[Mapping[str, Any]]) -> int:
    """As the engine sums it up; what it went through where it did not come to that."""
    told = [summary["resourceChanges"].get("same", 0) for summary in summaries if summary.get("resourceChanges")]
    return int(told[-1]) if told else sum(step["op"] == "same" for step in steps)


def _changes(steps: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    by_urn: dict[str, list[Mapping[str, Any]]] = {}
    for step in steps:
        if step["op"] in _OPS and step["type"] != _STACK:
            by_urn.setdefault(step["urn"], []).append(step)
    for urn, parts in by_urn.items():
        # A replacement is several steps; all that tell what differs say the same.
        op = next((_OPS[part["op"]] for part in parts if _OPS[part["op"]] is Op.REPLACE), _OPS[parts[0]["op"]])
        whole = next((part for part in parts if part.get("old") and part.get("new")), parts[0])
        old, new = whole.get("old") or {}, whole.get("new") or {}
        names = [part["op"] for part in parts]
        yield Change(
            op=op,
            urn=urn,
            type=whole["type"],
            parent=(old or new).get("parent") or None,
            before=blind(old.get("inputs") or {}),
            after=blind(new.get("inputs") or {}),
            paths=tuple(whole.get("detailedDiff") or whole.get("diffs") or ()),
            reasons=tuple(whole.get("keys") or ()),
            deleted_first="delete-replaced" in names
            and "create-replacement" in names
            and names.index("delete-replaced") < names.index("create-replacement"),
            protected=bool(old.get("protect")),
            retained=bool(old.get("retainOnDelete")),
        )


def _outputs(
    steps: Iterable[Mapping[str, Any]], ends: list[Mapping[str, Any]]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The stack's outputs before and after, of which the last are the whole. A stack that goes has none after."""
    found = [*_of_stack(steps), *ends]
    if not found:
        return None, None
    before = [blind(step["old"]["outputs"]) for step in found if (step.get("old") or {}).get("outputs")]
    if any(step["op"] == "delete" for step in found):
        return (before or [None])[-1], {}
    after = [blind(step["new"]["outputs"]) for step in ends if (step.get("new") or {}).get("outputs")]
    return (before or [{} if after else None])[-1], (after or [None])[-1]


def _of_stack(steps: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (step for step in steps if step["type"] == _STACK)


def _violation(event: Mapping[str, Any]) -> Violation:
    message = _plain(event["message"])
    sentence = message.partition("\n")[2].strip() or message
    return Violation(event["policyName"], event["enforcementLevel"], event.get("resourceUrn") or "", sentence)


def _errors(said: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for each in said:
        if each.get("severity") == "error":
            text = _plain(each["message"]).removeprefix("error: ").removeprefix("an unhandled error occurred: ")
            if text and text != "preview failed":
                yield text


def _plain(message: str) -> str:
    return _MARKUP.sub("", message).strip()
