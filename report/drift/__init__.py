"""What differs from the last deployment, and whose it is."""

from report.drift.findings import Finding, findings
from report.drift.reading import Read, Seen, seen
from report.drift.rendering import as_json, as_markdown, as_table

__all__ = ["Finding", "Read", "Seen", "as_json", "as_markdown", "as_table", "findings", "seen"]
