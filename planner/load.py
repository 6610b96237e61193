"""Servers under a load that changes, and the autoscaler that adds and takes them away: what it costs and whom it keeps waiting.

A request waits for a place in the batch of one server, its prompt is computed, and it keeps the place until its answer is whole.
A server that has just come takes new requests, not those that wait for others already. Requests come at random, from a seed.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from planner.scaler import SYNC_SECONDS, Metric, Scaler

SCRAPE_SECONDS = 30
"""How often Prometheus looks."""
AVERAGE_SECONDS = 120
"""Over which scalers average what runs (components.scaling.queries)."""

Trace = Callable[[float], float]
"""Requests a second by the time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What one server can do."""

    slots: int
    """Requests of one batch."""
    seconds: float
    """How long a request has its place."""
    prompt_seconds: float
    """From its place to its first token."""
    kv_full: float
    """Share of the KV cache that a full batch uses."""
    start_seconds: float
    stop_seconds: float
    """How long it goes on with what it has after it is told to stop."""

    @property
    def rate(self) -> float:
        """Requests a second at the most."""
        return self.slots / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What each server should bear."""

    waiting: float
    running: float
    kv_usage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    requests: int
    in_time: float
    """Share of requests whose first token came within the objective."""
    p95_s: float
    """Seconds to the first token, of 95 % of the requests."""
    aborted: int
    """Requests cut off by a server that was taken away."""
    most: int
    """Replicas at once."""
    fewest: int
    replica_hours: float
    turns: int
    """How often a change went the other way than the one before."""
    changes: int


@dataclass(slots=True, eq=False)
class _Replica:
    ready_at: float
    queue: deque[float] = field(default_factory=deque)
    """When each request came that waits."""
    ends: list[float] = field(default_factory=list)
    """When each place becomes free, the soonest first."""
    gone_at: float | None = None


def simulate(
    server: Server,
    scaler: Scaler,
    aims: Aims,
    trace: Trace,
    *,
    seconds: int,
    objective_s: float,
    blind: tuple[float, float] = (0, 0),
    schedule: Callable[[float], int] = lambda _: 0,
    seed: int = 0,
) -> Outcome:
    """`seconds` of a load, from the fewest servers, all warm.

    Between the two times of `blind` Prometheus does not answer; `schedule` tells how many servers there should be at least.
    """
    world = _World(server, scaler, aims, random.Random(seed))  # noqa: S311 - a load, no secret
    for now in range(seconds):
        planned = Metric(schedule(now), 1, average=True)
        world.second(float(now), trace(now), planned, seen=not blind[0] <= now < blind[1])
    return world.outcome(seconds, objective_s)


class _World:
    def __init__(self, server: Server, scaler: Scaler, aims: Aims, chance: random.Random) -> None:
        self._server, self._scaler, self._aims, self._random = server, scaler, aims, chance
        self._replicas = [_Replica(-math.inf) for _ in range(scaler.least)]
        self._going: list[_Replica] = []
        self._next = 0.0
        self._turn = 0
        self._firsts: list[float] = []
        self._aborted = 0
        self._counts: list[int] = []
        self._waiting = 0
        self._running: deque[int] = deque([0], maxlen=AVERAGE_SECONDS // SCRAPE_SECONDS)

    def second(self, now: float, rate: float, planned: Metric, *, seen: bool) -> None:
        ready = [replica for replica in self._replicas if replica.ready_at <= now]
        self._arrive(now, rate, ready)
        for replica in (*ready, *self._going):
            self._serve(replica, now)
        self._stop(now)
        if now % SCRAPE_SECONDS == 0:
            self._waiting = sum(len(replica.queue) for replica in ready)
            self._running.append(sum(len(replica.ends) for replica in ready))
        if now % SYNC_SECONDS == 0:
            self._become(now, self._scaler.step(now, len(self._replicas), len(ready), [planned, *self._metrics(seen)]))
        self._counts.append(len(self._replicas))

    def _arrive(self, now: float, rate: float, ready: Sequence[_Replica]) -> None:
        self._next = max(self._next, now)
        while rate > 0 and (gap := self._random.expovariate(rate)) + self._next < now + 1:
            self._next += gap
            self._turn += 1
            ready[self._turn % len(ready)].queue.append(self._next)
        self._next = now + 1

    def _serve(self, replica: _Replica, now: float) -> None:
        while replica.ends and replica.ends[0] <= now:
            heapq.heappop(replica.ends)
        while replica.queue and len(replica.ends) < self._server.slots:
            came = replica.queue.popleft()
            heapq.heappush(replica.ends, now + self._server.seconds)
            self._firsts.append(max(0.0, now - came) + self._server.prompt_seconds)

    def _stop(self, now: float) -> None:
        for replica in [each for each in self._going if each.gone_at is not None and each.gone_at <= now]:
            self._going.remove(replica)
            self._aborted += len(replica.queue) + len(replica.ends)

    def _metrics(self, seen: bool) -> list[Metric]:
        running = sum(self._running) / len(self._running)
        known = (
            (self._waiting, self._aims.waiting),
            (running, self._aims.running),
            (running / self._server.slots * self._server.kv_full, self._aims.kv_usage),
        )
        return [Metric(value if seen else None, aim, average=True) for value, aim in known]

    def _become(self, now: float, wanted: int) -> None:
        while len(self._replicas) < wanted:
            self._replicas.append(_Replica(now + self._server.start_seconds))
        while len(self._replicas) > wanted:
            # Those that are not ready go first, then the youngest (kubernetes/kubernetes, pkg/controller, ActivePodsWithRanks).
            last = max(self._replicas, key=lambda replica: replica.ready_at)
            self._replicas.remove(last)
            last.gone_at = now + self._server.stop_seconds
            self._going.append(last)

    def outcome(self, seconds: int, objective_s: float) -> Outcome:
        """What came of it; a request that still waits is late if it has waited longer than the objective."""
        waits = [seconds - came for replica in (*self._replicas, *self._going) for came in replica.queue]
        firsts = sorted([*self._firsts, *(wait for wait in waits if wait > objective_s)])
        steps = [later - sooner for sooner, later in pairwise(self._counts) if later != sooner]
        return Outcome(
            requests=len(firsts),
            in_time=sum(first <= objective_s for first in firsts) / max(len(firsts), 1),
            p95_s=firsts[math.ceil(0.95 * len(firsts)) - 1] if firsts else 0.0,
            aborted=self._aborted,
            most=max(self._counts),
            fewest=min(self._counts),
            replica_hours=sum(self._counts) / 3600,
            turns=sum((one > 0) != (other > 0) for one, other in pairwise(steps)),
            changes=len(steps),
        )
