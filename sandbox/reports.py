"""What the engine says when it fails, as sentences; and what an interrupt means to it."""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator

import psutil
from pulumi import automation

from policy_pack.rule import Level
from sandbox.errors import SandboxError
from sandbox.policies import violation


@contextlib.contextmanager
def sentences() -> Iterator[Callable[[automation.EngineEvent], None]]:
    """What the engine objects to, as sentences: it has printed the details already. Yields the listener to its events."""
    errors: list[str] = []

    def hear(event: automation.EngineEvent) -> None:
        if (said := event.diagnostic_event) and said.severity == "error":
            errors.extend(_plain(said.message, said.urn))
        if (found := event.policy_event) and found.enforcement_level == Level.MANDATORY:
            errors.append(violation(found))

    try:
        with _passing_on_interrupts():
            yield hear
    except automation.CommandError as error:
        raise SandboxError("\n".join(dict.fromkeys(errors)) or _reason(str(error))) from None


def warning(message: str) -> str:
    """A warning of the engine, without its markup."""
    return _unmarked(message).strip()


def _unmarked(message: str) -> str:
    return re.sub(r"<\{%.*?%\}>", "", message)


def _plain(message: str, urn: str | None) -> Iterator[str]:
    """The lines of a message of the engine, without its markup and without those that only say that there are some."""
    for line in _unmarked(message).splitlines():
        text = line.strip().removeprefix("* ").removeprefix("error: ").removeprefix("an unhandled error occurred: ")
        if text and not re.fullmatch(r"\d+ errors? occurred:|(update|preview|refresh|destroy) (failed|canceled)", text):
            yield f"{urn.rpartition('::')[2]}: {text}" if urn and "::pulumi:pulumi:Stack::" not in urn else text


def _reason(report: str) -> str:
    """Why the engine ended, where no event says so, out of a report that also quotes its whole output."""
    if killed := re.search(r"^ code: -(\d+)$", report, re.MULTILINE):
        name = signal.Signals(int(killed[1])).name
        return f"the engine was ended by {name}; run the same command again, it goes on from what is there"
    if "cancel" in report:
        return "the run was interrupted; run the same command again, it goes on from what is there"
    errors = [line.strip().removeprefix("error: ") for line in report.splitlines() if line.strip().startswith("error: ")]
    return errors[0] if errors else report.strip()


@contextlib.contextmanager
def _passing_on_interrupts() -> Iterator[None]:
    """An interrupt (Ctrl-C) is the engine's to handle: it ends what is under way and records it; a second one ends it at once."""

    def pass_on(number: int, _frame: object) -> None:
        if os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp():
            return  # the terminal has told the engine already, which belongs to the same group
        for child in psutil.Process().children():
            if child.name() == "pulumi":  # the control plane's processes are children too, and have nothing to do with it
                child.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
