"""The waiting itself: judge, and judge again whenever the cluster reports a change."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from sandbox.providers.kubernetes.awaiting import wait_for
from sandbox.providers.kubernetes.awaiting.evidence import Watched, facts, gather, watched
from sandbox.providers.kubernetes.awaiting.reasons import explain
from sandbox.providers.kubernetes.awaiting.rules import READY, Verdict, has_rule, judge
from sandbox.providers.kubernetes.client import Cluster, Kind
from sandbox.providers.kubernetes.objects import (
    SKIP_AWAIT,
    TIMEOUT_SECONDS,
    WAIT_FOR,
    Object,
    annotation,
    describe,
    is_true,
    metadata,
)

_LONGEST: Final = "LLM_PLATFORM_AWAIT_SECONDS"  # a budget for real hardware is no use where nodes start in a second
_DEFAULT_S: Final = 600.0
_CLAIM_S: Final = 300.0
_SOON_S: Final = (0.05, 0.1, 0.2)
_LOOK_AGAIN_S: Final = 5.0  # even without a reported change: a watch may have missed one


class NotReadyError(Exception):
    """It did not become ready; the object as it last was, and why not."""

    def __init__(self, live: Object, reason: str) -> None:
        super().__init__(reason)
        self.live = live


def time_limit(obj: Object, custom: float) -> float:
    """Seconds to wait: customTimeouts, else the annotation, else 10 minutes (5 for a claim); no more than a rehearsal allows."""
    given = annotation(obj, TIMEOUT_SECONDS)
    if custom:
        limit = custom
    elif given.isdigit() and int(given) > 0:
        limit = float(given)
    else:
        limit = _CLAIM_S if obj.get("kind") == "PersistentVolumeClaim" else _DEFAULT_S
    return min(limit, float(os.environ.get(_LONGEST, "inf")))


async def verdict_now(cluster: Cluster, live: Object, inputs: Object) -> Verdict:
    """Whether the object is ready at this moment."""
    if is_true(inputs, SKIP_AWAIT):
        return READY
    if wanted := annotation(inputs, WAIT_FOR):
        return wait_for.judge(wait_for.parse(wanted), live)
    return judge(live, await facts(cluster, live))


async def reason_now(cluster: Cluster, live: Object, verdict: Verdict, seconds: float = 0.0) -> str:
    return explain(live, verdict.waiting, seconds, await gather(cluster, live))


async def until_ready(
    cluster: Cluster,
    kind: Kind,
    live: Object,
    inputs: Object,
    *,
    limit: float,
    cancelled: asyncio.Event,
    report: Callable[[str], Awaitable[None]],
) -> Object:
    """The object once it is ready.

    Raises:
        NotReadyError: it failed for good, the limit (seconds) is over, it was deleted, or the user cancelled.
    """
    needs_waiting = not is_true(inputs, SKIP_AWAIT) and (bool(annotation(inputs, WAIT_FOR)) or has_rule(live))
    if not needs_waiting or (verdict := await verdict_now(cluster, live, inputs)).ready:
        return live
    told = ""
    async with aclosing(_moments(cluster, await watched(cluster, kind, live), limit, cancelled)) as moments:
        async for seconds in moments:
            current = await cluster.get(kind, live)
            if current is None:
                raise NotReadyError(live, f"{describe(live)}: deleted by someone else while it was awaited")
            live = current
            verdict = await verdict_now(cluster, live, inputs)
            if verdict.ready:
                if told:
                    await report("ready")
                return live
            if cancelled.is_set():
                raise NotReadyError(live, f"{describe(live)}: cancelled after {seconds:.0f} s: {verdict.waiting}")
            if verdict.failed or seconds >= limit:
                raise NotReadyError(live, await reason_now(cluster, live, verdict, seconds))
            if verdict.waiting != told:
                told = verdict.waiting
                await report(told)
    raise AssertionError("the moments go on until this returns or raises")


async def until_gone(cluster: Cluster, kind: Kind, obj: Object, limit: float, cancelled: asyncio.Event) -> None:
    """Wait for a deletion to be finished.

    Raises:
        NotReadyError: the limit (seconds) is over or the user cancelled; names the finalizers that hold it.
    """
    live = await cluster.get(kind, obj)
    uid = metadata(live or {}).get("uid")
    if live is None:
        return
    where = (await watched(cluster, kind, obj))[:1]
    async with aclosing(_moments(cluster, where, limit, cancelled)) as moments:
        async for seconds in moments:
            live = await cluster.get(kind, obj)
            if live is None or metadata(live).get("uid") != uid:
                return
            if cancelled.is_set() or seconds >= limit:
                raise NotReadyError(live, f"{describe(live)}: not deleted after {seconds:.0f} s: {_held_by(live)}")


async def _moments(
    cluster: Cluster, where: Sequence[Watched], limit: float, cancelled: asyncio.Event
) -> AsyncGenerator[float, None]:
    """The moments to look again, as seconds since the first: a few soon, then at every change, at the limit, when cancelled."""
    began, changed = time.monotonic(), asyncio.Event()
    watches: list[asyncio.Future[None]] = []
    pauses = iter(_SOON_S)
    try:
        while True:
            left = limit - (time.monotonic() - began)
            if (pause := next(pauses, None)) is None:
                # Most things are ready by now; a connection for a watch is only worth its price for the others.
                watches = watches or [asyncio.ensure_future(cluster.signal_changes(*each, changed)) for each in where]
                await _first(changed, cancelled, min(_LOOK_AGAIN_S, left))
                changed.clear()
            else:
                await _first(cancelled, cancelled, min(pause, left))
            yield time.monotonic() - began
    finally:
        for watch in watches:
            watch.cancel()


def _held_by(live: Object) -> str:
    finalizers = [str(name) for name in metadata(live).get("finalizers") or []]
    spec = live.get("spec")
    finalizers += [str(name) for name in spec.get("finalizers") or []] if isinstance(spec, dict) else []
    why = [
        entry.get("message", "")
        for entry in (live.get("status") or {}).get("conditions") or []
        if entry.get("status") == "True" and "finalizer" in (entry.get("message", "") + entry.get("type", "")).lower()
    ]
    held = (
        f"the finalizers {', '.join(finalizers)} are not removed by their controllers"
        if finalizers
        else "the server still has it"
    )
    return ": ".join([held, *why[:1]])


async def _first(changed: asyncio.Event, cancelled: asyncio.Event, seconds: float) -> None:
    """Return at the first of: a change, a cancellation, the time."""
    waits = [asyncio.ensure_future(event.wait()) for event in (changed, cancelled)]
    await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
