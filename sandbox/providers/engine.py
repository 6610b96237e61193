"""The way back to the user: the engine's log, and a file for tracebacks."""

import os
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

LOG_ENV: Final = "LLM_PLATFORM_PROVIDER_LOG"


def record(text: str) -> None:
    """Append to the log file, where one is named."""
    if path := os.environ.get(LOG_ENV):
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(text.rstrip() + "\n")


class Engine:
    """The engine's log: what is written here the user sees beside the resource."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: Any = None

    async def _log(self, severity: Any, urn: str, message: str, *, status: bool = False) -> None:
        if self._stub is None:
            self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._address, options=_GRPC_CHANNEL_OPTIONS))
        try:
            await self._stub.Log(engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=status), timeout=5)
        except grpc.aio.AioRpcError:  # the engine is going away: nobody reads this any more
            record(f"not delivered to the engine: {message}")

    async def warn(self, urn: str, message: str) -> None:
        await self._log(engine_pb2.WARNING, urn, message)

    async def info(self, urn: str, message: str) -> None:
        await self._log(engine_pb2.INFO, urn, message)

    async def status(self, urn: str, message: str) -> None:
        """A line that the next one replaces: progress, not a record."""
        await self._log(engine_pb2.INFO, urn, message, status=True)
