"""What is wrong on hosts and how to put it right: runs the preflight, which changes nothing, on any of them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from .nodes import Node, nodes, preflight
from .scripts import launcher
from .settings import K3sSettings
from .ssh import UnreachableError, connect


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One check of one host."""

    verdict: Verdict
    check: str
    """Its name, e.g. `driver`."""
    sentence: str
    remedy: str = ""
    """What puts it right; empty where nothing is to be done."""


@dataclass(frozen=True)
class Report:
    """All findings on one host."""

    host: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether k3s can be installed there."""
        return all(finding.verdict is not Verdict.FAULT for finding in self.findings)


async def examine(settings: K3sSettings, private_key: str | None, only: Collection[str] = ()) -> list[Report]:
    """Check all hosts, or `only` these, at once; in the order of the settings. `private_key` is its text, None with an agent."""
    chosen = [node for node in nodes(settings) if not only or node.name in only]
    return list(await asyncio.gather(*(_examine(node, settings, private_key) for node in chosen)))


async def _examine(node: Node, settings: K3sSettings, private_key: str | None) -> Report:
    ssh = settings.ssh
    command = launcher("report", node.name, ssh.user, sudo=ssh.sudo)
    try:
        async with connect(node.name, node.host, ssh, private_key) as connection:
            result = await connection.run(command, preflight(node, settings))
    except UnreachableError as error:
        sentence, _, remedy = str(error).partition("; ")
        return Report(node.name, (Finding(Verdict.FAULT, "ssh", sentence, remedy),))
    findings = read(result.output)
    if result.status and all(finding.verdict is not Verdict.FAULT for finding in findings):
        last = (result.errors.strip().splitlines() or [f"the checks ended with {result.status}"])[-1]
        sentence, _, remedy = last.removeprefix(f"{node.name}: ").partition("; ")
        findings = (*findings, Finding(Verdict.FAULT, "login", sentence, remedy))
    return Report(node.name, findings)


def read(output: str) -> tuple[Finding, ...]:
    """The findings that the preflight printed."""
    rows = (line.split("\t") for line in output.splitlines())
    return tuple(Finding(Verdict(row[0]), *row[1:]) for row in rows if len(row) == 4)
