"""What a rehearsal made, in a screen: counts, addresses, the plan of every model."""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sandbox.control_plane import Status

_EVERY_NODE_HAS = ("ephemeral-storage", "pods")


def summary(stack: str, resources: list[Mapping[str, Any]], outputs: Mapping[str, Any]) -> RenderableType:
    """The screen after `up`. `resources` as in the engine's export, `outputs` without secrets."""
    parts: list[RenderableType] = [Text(f"\nThe stack {stack} is up: {_counts(resources)}.\n", style="bold")]
    plans = outputs.get("plans") or {}
    parts += [_model(name, model, plans.get(name) or {}) for name, model in (outputs.get("models") or {}).items()]
    parts.append(Text(f"\nLook around:  export KUBECONFIG=$(.venv/bin/python -m sandbox kubeconfig {stack})"))
    return Group(*parts)


def _counts(resources: list[Mapping[str, Any]]) -> str:
    kinds = Counter(str(r["type"]).rpartition(":")[2] for r in resources if str(r["type"]).startswith("kubernetes:"))
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing on the cluster"


def _model(name: str, model: Mapping[str, Any], plan: Mapping[str, Any]) -> Table:
    table = Table(title=name, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("answers at", str(model["url"]))
    for key, value in plan.items():
        table.add_row(key, str(value))
    path, *flags = map(str, model.get("arguments") or [])
    table.add_row("command", f"vllm serve {path}")
    table.add_row("", " ".join(flags))
    return table


def status_screen(status: Status) -> RenderableType:
    """What runs, on a screen."""
    processes, nodes = Table(box=None, pad_edge=False), Table(box=None, pad_edge=False)
    for column in ("process", "pid", "port"):
        processes.add_column(column)
    for process in status.processes:
        processes.add_row(process.name, str(process.pid or "does not run"), str(process.port or ""))
    for column in ("node", "ready", "offers"):
        nodes.add_column(column, overflow="fold")
    for node in status.nodes:
        offers = ", ".join(f"{amount} {name}" for name, amount in sorted(node.capacity.items()) if name not in _EVERY_NODE_HAS)
        nodes.add_row(node.name, "yes" if node.ready else "no", offers)
    return Group(Text(f"{status.name} is {status.state} {status.server or ''}\n"), processes, Text(), nodes)


def show(renderable: RenderableType) -> None:
    """Print to standard output, as wide as the terminal (120 columns where there is none)."""
    Console(width=None if sys.stdout.isatty() else 120).print(renderable, highlight=False)
