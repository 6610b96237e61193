"""Programs that run in pods: read as text, never imported."""

from pathlib import Path


def script(name: str) -> str:
    """The text of a program."""
    return (Path(__file__).parent / name).read_text()
