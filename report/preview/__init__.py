"""The report on a preview: one comment for a pull request, in Markdown. Pure, but for reading a file."""

from report.preview.comment import LIMIT, comment
from report.preview.events import read
from report.preview.model import Preview

__all__ = ["LIMIT", "Preview", "comment", "read"]
