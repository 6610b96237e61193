"""What of a stack is not as it was deployed, whose doing that is, and what to do. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.secretive import hidden, names_secret
from report.blinding import SECRET
from report.drift.managed_fields import Path, at, beyond, claims, shown
from report.drift.owners import NOBODY, Owner, advice, cloud, manager, person
from report.drift.reading import Read, Seen

_OWN = "pulumi-kubernetes"
"""How field managers of the Kubernetes provider begin."""
_LONGEST = 120


class Kind(StrEnum):
    """In what way something is not as it was deployed."""

    CHANGED = "changed"
    """A field that the program sets has another value."""
    ADDED = "added"
    """Somebody has set a field that the program leaves out."""
    GONE = "gone"
    """The resource is not there any more."""
    HOST = "host"
    """A host is not as the stack has made it."""


@dataclass(frozen=True)
class Finding:
    """One difference. Values are as people read them, without what is secret or looks so."""

    kind: Kind
    urn: str
    resource: str
    """Kind and name: of an object those in the cluster, else the type's and the program's."""
    field: str
    wanted: str
    found: str
    owner: str
    known: bool
    """Whether the platform counts on this owner: else it is drift."""
    remedy: str


def findings(what: Seen) -> list[Finding]:
    """Everything that differs: first what nobody known has done, in the order of names."""
    found = [finding for read in what.read for finding in _of(read)]
    found += [_host(urn) for urn, op in what.planned.items() if "$command:" in urn and op not in ("create", "delete")]
    return sorted(found, key=lambda each: (each.known, each.resource, each.field))


def undeployed(what: Seen, found: Iterable[Finding]) -> list[str]:
    """URNs that an update would change although nothing there has changed: the program or the stack file has."""
    explained = {finding.urn for finding in found}
    return sorted(urn for urn in what.planned if urn not in explained)


def _of(read: Read) -> Iterator[Finding]:
    if read.found is None:
        text = "`pulumi up --refresh` makes it again"
        note = advice(read.type, "")
        yield Finding(Kind.GONE, read.urn, _resource(read), "", "there", "gone", NOBODY.who, False, _joined(text, note))
        return
    for path, wanted, found in _differences(read):
        field = shown(path, read.wanted if at(read.wanted, path) is not None else read.found)
        owner = _owner(read, path, field)
        note = advice(read.type, field)
        text = "nothing" if owner.known else note or "`pulumi up --refresh` sets it back; to keep it, put it into the stack file"
        was, now = (_text(read, path, field, value) for value in (wanted, found))
        yield Finding(Kind.CHANGED, read.urn, _resource(read), field, was, now, owner.who, owner.known, text)
    if read.type.startswith("kubernetes:"):
        yield from _additions(read)


def _differences(read: Read) -> Iterator[tuple[Path, Any, Any]]:
    for path in read.differs:
        # What no input says (all tags of a resource, those of its provider among them) is compared as the provider tells it.
        inputs = at(read.wanted, path[:1]) is not None or at(read.found, path[:1]) is not None
        old, new = (read.wanted, read.found) if inputs else (read.recorded, read.live)
        yield from _leaves(path, at(old, path), at(new, path))


def _leaves(path: Path, wanted: Any, found: Any) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key in sorted({*wanted, *found}):
            yield from _leaves((*path, key), wanted.get(key), found.get(key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (was, now) in enumerate(zip(wanted, found, strict=True)):
            yield from _leaves((*path, index), was, now)
    elif wanted != found or wanted == SECRET:
        yield path, wanted, found


def _owner(read: Read, path: Path, field: str) -> Owner:
    if not read.type.startswith("kubernetes:"):
        return cloud(read.type, field) or Owner("somebody in the account", known=False)
    theirs = [claim for claim in claims(read.live) if not claim.manager.startswith(_OWN) and claim.covers(path, read.found)]
    return person(max(theirs, key=lambda claim: claim.time).manager) if theirs else NOBODY


def _additions(read: Read) -> Iterator[Finding]:
    for claim in claims(read.live):
        if claim.subresource == "status" or claim.manager.startswith(_OWN):
            continue
        for field, value in beyond(claim, read.wanted, read.live):
            if field == "status" or field.startswith("metadata.managedFields"):
                continue
            owner = manager(claim.manager, field)
            remedy = "nothing" if owner.known else "no update takes it away: remove it by hand, or put it into the stack file"
            text = _text(read, (), field, value)
            yield Finding(Kind.ADDED, read.urn, _resource(read), field, "", text, owner.who, owner.known, remedy)


def _host(urn: str) -> Finding:
    resource = f"Command {urn.rpartition('::')[2]}"
    remedy = "`pulumi up` runs it again; a stack file that was changed since the last deployment shows like this too"
    return Finding(Kind.HOST, urn, resource, "", "as it was made", "to be made again", "somebody on the host", False, remedy)


def _resource(read: Read) -> str:
    kind = read.type.rpartition(":")[2]
    return f"{kind} {read.id if read.type.startswith('kubernetes:') and read.id else read.name}"


def _joined(text: str, note: str) -> str:
    return f"{text}; {note}" if note else text


def _text(read: Read, path: Path, field: str, value: Any) -> str:
    """A value in one short line; nothing of it where it may be secret."""
    if value is None:
        return ""
    of_secret = read.type.endswith(":Secret") and field.partition(".")[0] in ("data", "stringData")
    steps = [step for step in path if isinstance(step, str)] or field.replace("[", ".").replace("]", "").split(".")
    beside = at(read.wanted, (*path[:-1], "name")) if path else None
    if of_secret or any(map(names_secret, [*steps, str(beside or "")])):
        return SECRET
    text = value if isinstance(value, str) else json.dumps(_without_secrets(value), sort_keys=True)
    text = hidden(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        secret = names_secret(str(value.get("name", "")))
        return {k: SECRET if names_secret(k) or (secret and k == "value") else _without_secrets(v) for k, v in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
