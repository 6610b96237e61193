"""How a server stops, in seconds."""

from dataclasses import dataclass

SPOT_NOTICE = 120
"""Seconds between the notice and the end of a spot instance: Amazon EC2 User Guide, "Spot Instance interruption notices"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a server stops, in seconds: `grace >= pre_stop + shutdown_timeout + teardown`."""

    pre_stop: int = 10
    """Until endpoints and gateways have dropped the pod."""
    shutdown_timeout: int = 60
    """vLLM's `--shutdown-timeout`: for requests in flight after SIGTERM."""
    teardown: int = 20
    """For the engine to free the accelerators."""

    @property
    def grace(self) -> int:
        """The shortest `terminationGracePeriodSeconds`."""
        return self.pre_stop + self.shutdown_timeout + self.teardown


def check_drain(pre_stop: int, shutdown_timeout: int, teardown: int, grace: int, spot: bool) -> str | None:
    """Why a server would be killed before it has drained, with a value that works; None when it has the time. All in seconds.

    `grace >= preStop + --shutdown-timeout + teardown`; on spot capacity that sum must end within the two minutes of the notice.
    """
    needed = pre_stop + shutdown_timeout + teardown
    parts = f"preStop {pre_stop} s + a shutdown timeout of {shutdown_timeout} s + teardown {teardown} s = {needed} s"
    if spot and needed > SPOT_NOTICE:
        room = SPOT_NOTICE - pre_stop - teardown
        works = f"a shutdown timeout of {room} s" if room >= 0 else "preStop 10, a shutdown timeout of 60 and teardown 20"
        return f"{parts} is more than the {SPOT_NOTICE} s a spot interruption leaves; use {works}"
    if grace < needed:
        return f"terminationGracePeriodSeconds {grace} is less than {parts}; use {needed} or more"
    return None
