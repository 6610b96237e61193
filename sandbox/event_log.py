"""The events of an engine in a file, as `pulumi preview --event-log` writes them: one JSON object a line, secrets blinded."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation.events import BaseEvent

Hear = Callable[[automation.EngineEvent], None]


@contextmanager
def event_log(file: Path | None) -> Iterator[Hear]:
    """A listener that writes what it hears; one that does nothing where there is no file."""
    if file is None:
        yield lambda _event: None
        return
    with file.open("w", encoding="utf-8") as log:

        def write(event: automation.EngineEvent) -> None:
            log.write(json.dumps(_plain(event)) + "\n")

        yield write


def _plain(value: Any) -> Any:
    """The API's objects under the names of the protocol; maps of a program keep their own."""
    if isinstance(value, BaseEvent):
        return {_camel(name): _plain(inner) for name, inner in vars(value).items() if inner is not None}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)
