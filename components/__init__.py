"""The component library: everything a stack is made of, usable from any Pulumi program in Python."""

__version__ = "0.1.0"
"""Version of the wheel and of the plugin; docs/composition.md says what may change with which part of it."""
