"""Numbers as Grafana writes them (github.com/grafana/grafana, packages/grafana-data/src/valueFormats)."""

import math

_SHORT = ("", " K", " Mil", " Bil", " Tri")
_METRIC = ("", "k", "M", "G", "T", "P")
_BINARY = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")
_TIMES = ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))


def written(value: float | None, unit: str, decimals: float | None = None) -> str:
    """A value with its unit."""
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    match unit:
        case "percentunit":
            return f"{_rounded(value * 100, decimals)}%"
        case "s":
            size, name = next(((size, name) for size, name in _TIMES if abs(value) >= size), (1.0, "s"))
            plural = "s" if name in {"min", "hour", "day", "week"} and value / size != 1 else ""
            return f"{_rounded(value / size, decimals)} {name}{plural}"
        case "bytes":
            return _scaled(value, 1024, _BINARY, decimals)
        case "celsius":
            return f"{_rounded(value, decimals)} °C"
        case "watt":
            return _scaled(value, 1000, tuple(f" {prefix}W" for prefix in _METRIC), decimals)
        case "currencyUSD":
            return "$" + _scaled(value, 1000, ("", "K", "M", "B", "T"), decimals)
        case "reqps" | "cps":
            end = {"reqps": " req/s", "cps": " c/s"}[unit]
            return _scaled(value, 1000, tuple(f"{prefix}{end}" for prefix in ("", "K", "M", "B")), decimals)
    kind, _, name = unit.partition(":")
    match kind:
        case "si":
            return _scaled(value, 1000, tuple(f" {prefix}{name}" for prefix in _METRIC), decimals)
        case "suffix":
            return f"{_rounded(value, decimals)}{name}"
        case "none":
            return _rounded(value, decimals)
    return _scaled(value, 1000, _SHORT, decimals)


def _scaled(value: float, factor: int, ends: tuple[str, ...], decimals: float | None) -> str:
    step = 0
    while abs(value) >= factor and step < len(ends) - 1:
        value, step = value / factor, step + 1
    return f"{_rounded(value, decimals)}{ends[step]}"


def _rounded(value: float, decimals: float | None) -> str:
    if decimals is not None:
        return f"{value:.{int(decimals)}f}"
    digits = 0 if value == 0 else max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
