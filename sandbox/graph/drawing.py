"""Graphviz itself, which comes with the Python package that binds it."""

import re

import pygraphviz


def to_svg(dot: str) -> str:
    """The drawing of a graph in Graphviz's language, as a page of a browser or a Markdown file shows it."""
    drawn: bytes = pygraphviz.AGraph(string=dot).draw(format="svg", prog="dot")
    return re.sub(r"(?s)^.*?(?=<svg)", "", drawn.decode(), count=1)
