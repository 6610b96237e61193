"""Programs that run in pods: read as text. None is imported by a component; a mirror is filled by what would read it."""

from pathlib import Path


def script(name: str) -> str:
    """The text of a program."""
    return (Path(__file__).parent / name).read_text()
