"""A derived number as a row of a table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """One derived number, for a table that a reviewer can argue with."""

    name: str
    value: float
    unit: str
    formula: str
    source: str
