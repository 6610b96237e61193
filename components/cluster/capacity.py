"""How the instances of a managed pool are bought. Pure."""

import datetime
import re
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

from pydantic import BeforeValidator, Field, model_validator

from ..inputs import Matching, Model

ReservationId = Annotated[
    str, Matching(pattern=r"cr-[0-9a-f]{8,17}", what="the id of a capacity reservation", example="cr-0123456789abcdef0")
]


def _plain_day(value: object) -> object:
    # A day without quotes is a point in time to Pulumi, which hands it on in the words of Go.
    return re.sub(r" 00:00:00 \+0000 UTC$", "", value) if isinstance(value, str) else value


Day = Annotated[datetime.date, BeforeValidator(_plain_day)]


class CapacityKind(StrEnum):
    """How instances are bought."""

    ON_DEMAND = "onDemand"
    """By the hour."""
    SPOT = "spot"
    """By the hour for less, until somebody else pays more."""
    RESERVATION = "reservation"
    """Out of a capacity reservation (ODCR)."""
    CAPACITY_BLOCK = "capacityBlock"
    """Out of a capacity block for ML, which has a first and a last day."""


class CapacityArgs(TypedDict):
    """How instances are bought."""

    kind: NotRequired[CapacityKind]
    """On-demand (the default), spot, a capacity reservation, or a capacity block for ML."""
    reservation_id: NotRequired[str]
    """The reservation or the block."""
    zone: NotRequired[str]
    """Zone of the reservation or the block."""
    starts: NotRequired[str]
    """First day of a block, e.g. `2026-12-01`."""
    ends: NotRequired[str]
    """Last day of a block."""


class Capacity(Model):
    """Validated `CapacityArgs`."""

    kind: CapacityKind = Field(CapacityKind.ON_DEMAND, description="Way of buying.", examples=["spot"])
    reservation_id: ReservationId | None = Field(None, description="The reservation or the block.")
    zone: str | None = Field(None, description="Its zone.", examples=["us-east-1a"])
    starts: Day | None = Field(None, description="First day of a capacity block.", examples=["2026-12-01"])
    ends: Day | None = Field(None, description="Last day of a capacity block.", examples=["2026-12-14"])

    @model_validator(mode="after")
    def _complete(self) -> "Capacity":
        reserved = self.kind in (CapacityKind.RESERVATION, CapacityKind.CAPACITY_BLOCK)
        if reserved != (self.reservation_id is not None and self.zone is not None):
            raise ValueError(
                f"kind: {self.kind} {'needs reservationId and zone' if reserved else 'has no reservation'}; use e.g. "
                "{kind: reservation, reservationId: cr-0123456789abcdef0, zone: us-east-1a}"
            )
        block = self.kind is CapacityKind.CAPACITY_BLOCK
        if block != (self.starts is not None and self.ends is not None):
            raise ValueError(
                "starts and ends belong to kind: capacityBlock, which needs both, since its instances end with it; "
                "use e.g. starts: 2026-12-01 and ends: 2026-12-14"
            )
        if self.starts and self.ends and self.starts >= self.ends:
            raise ValueError(f"ends: {self.ends} is not after starts: {self.starts}; use the dates of the block")
        return self

    @property
    def eks(self) -> str:
        """The `capacityType` of EKS."""
        return {CapacityKind.SPOT: "SPOT", CapacityKind.CAPACITY_BLOCK: "CAPACITY_BLOCK"}.get(self.kind, "ON_DEMAND")

    def check_dates(self, today: datetime.date) -> str | None:
        """Raise ValueError for a block that is over; return a warning for one that has not begun."""
        if self.ends and self.ends < today:
            raise ValueError(f"capacity.ends: the block ended on {self.ends}, and with it its instances; name one that goes on")
        if self.starts and self.starts > today:
            return f"the capacity block begins on {self.starts}; until then the pool has no nodes, then raise its desired size"
        return None
