"""What an update that was interrupted leaves open."""

from report.interrupted.operations import Open, still_open

__all__ = ["Open", "still_open"]
