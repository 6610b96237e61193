"""A graph in the language of Graphviz (graphviz.org/doc/info/lang.html), the same text for the same stack."""

import html
import json
import textwrap
from itertools import groupby
from operator import attrgetter

from sandbox.graph.boxes import Box, Graph

_COLOURS = {
    "accelerators": "#fde2c8",
    "apps": "#e3e3e3",
    "cluster": "#cfe3f7",
    "logging": "#e6ddf4",
    "monitoring": "#e6ddf4",
    "routing": "#cdeee6",
    "scaling": "#f8f1bf",
    "secrets": "#f6d3d8",
    "security": "#f6d3d8",
    "serving": "#d5edc8",
    "storage": "#f3e0cf",
}
_SHOWN = 4
"""Names in a box; how many more there are is said."""


def to_dot(graph: Graph) -> str:
    """Components by concern; an arrow leads to what waits for its beginning."""
    by_concern = groupby(sorted(graph.boxes, key=attrgetter("concern", "key")), attrgetter("concern"))
    clusters = [_cluster(concern, list(boxes)) for concern, boxes in by_concern]
    edges = [f"  {json.dumps(before)} -> {json.dumps(after)}" for before, after in graph.edges]
    return "\n".join(
        [
            f"digraph {json.dumps(graph.stack)} {{",
            '  graph [rankdir=LR, fontname="Helvetica", fontsize=16, ranksep=0.6, nodesep=0.18, newrank=true]',
            '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, margin="0.12,0.07"]',
            '  edge [color="#7a7a7a", arrowsize=0.6]',
            *clusters,
            *edges,
            "}",
            "",
        ]
    )


def _cluster(concern: str, boxes: list[Box]) -> str:
    inner = "\n".join(f"    {json.dumps(box.key)} [label=<{_label(box)}>]" for box in boxes)
    colour = _COLOURS.get(concern, "#ffffff")
    return (
        f'  subgraph "cluster_{concern}" {{\n    label={json.dumps(concern)}; color="#bbbbbb"; style=rounded\n'
        f'    node [fillcolor="{colour}"]\n{inner}\n  }}'
    )


def _label(box: Box) -> str:
    shown = ", ".join(box.names[:_SHOWN]) + (f" and {len(box.names) - _SHOWN} more" if len(box.names) > _SHOWN else "")
    lines = [f"<b>{box.kind}</b>{f' x {len(box.names)}' if len(box.names) > 1 else ''}"]
    lines += [f'<font point-size="9">{html.escape(line)}</font>' for line in textwrap.wrap(box.meaning, 40)]
    lines += [f'<font point-size="9" color="#555555">{html.escape(line)}</font>' for line in textwrap.wrap(shown, 40)]
    if box.resources:
        lines.append(f'<font point-size="9" color="#555555">{box.resources} resource{"s" * (box.resources > 1)}</font>')
    return "<br/>".join(lines)
