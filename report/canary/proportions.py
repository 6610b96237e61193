"""Shares of few requests: between which bounds the true share lies.

Both bounds are closed formulas that hold for small counts and for shares near 0: the score interval of E. B. Wilson (1927;
NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.4.1), and for the difference of two shares R. G. Newcombe's hybrid of two of
them (Statistics in Medicine 17, 1998, p. 873, method 10).
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Share:
    """`part` of `whole` requests, which need not be whole numbers: rates over time make them."""

    part: float
    whole: float

    @property
    def value(self) -> float:
        """0 to 1; 0 where there is nothing."""
        return min(1.0, max(0.0, self.part / self.whole)) if self.whole > 0 else 0.0

    def bounds(self, confidence: float) -> tuple[float, float]:
        """What the true share is at least, and at most: each holds with this confidence. Less than one request tells nothing."""
        if self.whole < 1:
            return 0.0, 1.0
        z, n, p = NormalDist().inv_cdf(confidence), self.whole, self.value
        centre, spread = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def above(self, other: "Share", confidence: float) -> tuple[float, float]:
        """By how much it exceeds another share at least, and at most; below 0 where it may be smaller."""
        (low, high), (other_low, other_high) = self.bounds(confidence), other.bounds(confidence)
        mine, theirs = self.value, other.value
        least = mine - theirs - sqrt((mine - low) ** 2 + (other_high - theirs) ** 2)
        most = mine - theirs + sqrt((high - mine) ** 2 + (theirs - other_low) ** 2)
        return least, most
