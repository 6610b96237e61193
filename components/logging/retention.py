"""How long logs are kept. Pure."""

CLOUD_WATCH_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The only numbers of days CloudWatch takes (CloudWatch Logs API, PutRetentionPolicy)."""


def check_retention(days: int) -> None:
    """Raise ValueError for a number of days that CloudWatch does not take."""
    if days not in CLOUD_WATCH_DAYS:
        longer = next((each for each in CLOUD_WATCH_DAYS if each > days), CLOUD_WATCH_DAYS[-1])
        raise ValueError(f"CloudWatch keeps logs for certain numbers of days, and {days} is none of them; use e.g. {longer}")
