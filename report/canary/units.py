"""Numbers as people read them."""


def percent(share: float) -> str:
    """A share of 1, with as many digits as small ones need: 12 %, 4.9 %, 0.02 %."""
    return f"{_hundredths(share)} %"


def points(difference: float) -> str:
    """A difference of shares: 12 points, 4.9 points."""
    return f"{_hundredths(difference)} points"


def seconds(value: float) -> str:
    """2.3 s, 480 ms."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def requests(count: float) -> str:
    """1,812 requests."""
    return f"{count:,.0f} request{'' if round(count) == 1 else 's'}"


def _hundredths(share: float) -> str:
    value = 100 * share
    if value == 0 or value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"
