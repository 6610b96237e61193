"""What AWS still has of a stack that is gone."""

from report.leaks.aws import Left, left

__all__ = ["Left", "left"]
