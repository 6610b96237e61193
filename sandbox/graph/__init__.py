"""A picture of a stack: its components, what they are for, and which wait for which."""

from sandbox.graph.boxes import Box, Graph, graph
from sandbox.graph.dot import to_dot
from sandbox.graph.drawing import to_svg

__all__ = ["Box", "Graph", "graph", "to_dot", "to_svg"]
