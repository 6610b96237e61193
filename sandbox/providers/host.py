"""The plugin host every emulated provider runs in: gRPC on one side, a small `Provider` class on the other.

It is the Pulumi SDK's `ProviderServicer` with what that one lacks: unknowns and secrets as plain values, one clean sentence
per error (the traceback goes to the file named by LLM_PLATFORM_PROVIDER_LOG), the partial-failure detail that lets the
next `up` resume a resource whose readiness failed, DiffConfig, warnings to the user, and an end when the engine is gone.
"""

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.provider.experimental.provider import ConstructRequest, ConstructResponse
from pulumi.provider.experimental.provider import Provider as SdkProvider
from pulumi.provider.experimental.server import ComponentInitError, ProviderServicer
from pulumi.runtime import proto
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from sandbox.errors import SandboxError
from sandbox.providers.contract import Checked, Diffed, InitFailedError, Live, ProviderError, Request
from sandbox.providers.engine import LOG_ENV, Engine, record
from sandbox.providers.properties import Properties, decode, encode

_PARENT_POLL_S = 0.5


class Provider(SdkProvider):
    """What an emulated provider implements. `cancelled` is set when the engine asks running operations to end."""

    name: str
    version: str

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cancelled = asyncio.Event()

    async def check_settings(self, request: Request) -> Checked:
        return Checked(request.inputs)

    async def diff_settings(self, request: Request) -> Diffed:
        raise NotImplementedError

    async def set_up(self, settings: Properties) -> None:
        raise NotImplementedError

    async def check_resource(self, request: Request) -> Checked:
        raise NotImplementedError

    async def diff_resource(self, request: Request) -> Diffed:
        raise NotImplementedError

    async def create_resource(self, request: Request) -> Live:
        raise NotImplementedError

    async def read_resource(self, request: Request) -> Live:
        raise NotImplementedError

    async def update_resource(self, request: Request) -> Properties:
        raise NotImplementedError

    async def delete_resource(self, request: Request) -> None:
        raise NotImplementedError

    def dismissed(self) -> None:
        """The engine needs the provider no more, and has written down what it was told; there are about 5 seconds left."""

    def redact(self, request: Request, text: str) -> str:
        """The text as the user may see it: without the secrets of the request."""
        return request.redact(text)

    async def call_function(self, token: str, _args: Properties) -> Properties:
        raise ProviderError(f"the function {token} is not part of the emulated {self.name} provider")

    async def construct(self, request: ConstructRequest) -> ConstructResponse:
        raise ProviderError(f"the component {request.resource_type} is not part of the emulated {self.name} provider")


T = TypeVar("T")


class Host(ProviderServicer):
    """Translates the engine's calls into those of a Provider."""

    def __init__(self, provider: Provider, engine_address: str) -> None:
        super().__init__([], provider.version, provider, engine_address)
        self.provider = provider

    async def Attach(self, _request: Any, _context: Any) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    async def Cancel(self, _request: Any, _context: Any) -> empty_pb2.Empty:  # noqa: N802
        self.provider.cancelled.set()
        return empty_pb2.Empty()

    async def GetSchema(self, _request: Any, context: Any) -> proto.GetSchemaResponse:  # noqa: N802
        async def refuse() -> proto.GetSchemaResponse:
            raise ProviderError(f"the emulated {self.provider.name} provider has no schema")

        return await self._answer(context, None, refuse)

    async def CheckConfig(self, request: Any, context: Any) -> proto.CheckResponse:  # noqa: N802
        return await self._check(request, context, self.provider.check_settings)

    async def Check(self, request: Any, context: Any) -> proto.CheckResponse:  # noqa: N802
        return await self._check(request, context, self.provider.check_resource)

    async def DiffConfig(self, request: Any, context: Any) -> proto.DiffResponse:  # noqa: N802
        return await self._diff(request, context, self.provider.diff_settings)

    async def Diff(self, request: Any, context: Any) -> proto.DiffResponse:  # noqa: N802
        return await self._diff(request, context, self.provider.diff_resource)

    async def Configure(self, request: Any, context: Any) -> proto.ConfigureResponse:  # noqa: N802
        settings = decode(request.args)

        async def configure() -> proto.ConfigureResponse:
            await self.provider.set_up(settings)
            return proto.ConfigureResponse(acceptSecrets=True, acceptResources=True, acceptOutputs=True, supportsPreview=True)

        return await self._answer(context, Request("", inputs=settings), configure)

    async def Invoke(self, request: Any, context: Any) -> proto.InvokeResponse:  # noqa: N802
        args = decode(request.args)

        async def invoke() -> proto.InvokeResponse:
            result = await self.provider.call_function(request.tok, args)
            return proto.InvokeResponse(**{"return": encode(result)})

        return await self._answer(context, Request("", inputs=args), invoke)

    async def Create(self, request: Any, context: Any) -> proto.CreateResponse:  # noqa: N802
        operation = Request(request.urn, inputs=decode(request.properties), timeout=request.timeout, preview=request.preview)

        async def create() -> proto.CreateResponse:
            live = await self.provider.create_resource(operation)
            return proto.CreateResponse(id=live.id, properties=encode(live.state))

        return await self._answer(context, operation, create)

    async def Read(self, request: Any, context: Any) -> proto.ReadResponse:  # noqa: N802
        operation = Request(
            request.urn,
            id=request.id,
            state=decode(request.properties),
            old_inputs=decode(request.inputs),
            timeout=request.timeout,
        )

        async def read() -> proto.ReadResponse:
            live = await self.provider.read_resource(operation)
            if not live.id:
                return proto.ReadResponse()  # even an empty property bag would say that it exists
            return proto.ReadResponse(id=live.id, properties=encode(live.state), inputs=encode(live.inputs))

        return await self._answer(context, operation, read)

    async def Update(self, request: Any, context: Any) -> proto.UpdateResponse:  # noqa: N802
        operation = Request(
            request.urn,
            id=request.id,
            inputs=decode(request.news),
            state=decode(request.olds),
            old_inputs=decode(request.old_inputs),
            timeout=request.timeout,
            preview=request.preview,
            ignore_changes=tuple(request.ignoreChanges),
        )

        async def update() -> proto.UpdateResponse:
            return proto.UpdateResponse(properties=encode(await self.provider.update_resource(operation)))

        return await self._answer(context, operation, update)

    async def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        operation = Request(
            request.urn,
            id=request.id,
            state=decode(request.properties),
            old_inputs=decode(request.old_inputs),
            timeout=request.timeout,
        )

        async def delete() -> empty_pb2.Empty:
            await self.provider.delete_resource(operation)
            return empty_pb2.Empty()

        return await self._answer(context, operation, delete)

    async def Construct(self, request: Any, context: Any) -> proto.ConstructResponse:  # noqa: N802
        async def construct() -> proto.ConstructResponse:
            return await self._construct(request, context)

        return await self._answer(context, None, construct)

    async def _check(self, request: Any, context: Any, check: Callable[[Request], Awaitable[Checked]]) -> proto.CheckResponse:
        operation = Request(
            request.urn,
            inputs=decode(request.news),
            old_inputs=decode(request.olds),
            seed=request.randomSeed,
            proposed_name=request.autonaming.proposed_name,
            autonaming=request.autonaming.mode != provider_pb2.CheckRequest.AutonamingOptions.DISABLE,
        )

        async def answer() -> proto.CheckResponse:
            checked = await check(operation)
            # Without a property of its own: the engine would show the value of that property, or "<nil>" for a nested one.
            failures = [
                proto.CheckFailure(reason=self.provider.redact(operation, f"{name}: {reason}" if name else reason))
                for name, reason in checked.failures
            ]
            return proto.CheckResponse(inputs=encode(checked.inputs), failures=failures)

        return await self._answer(context, operation, answer)

    async def _diff(self, request: Any, context: Any, diff: Callable[[Request], Awaitable[Diffed]]) -> proto.DiffResponse:
        operation = Request(
            request.urn,
            id=request.id,
            inputs=decode(request.news),
            state=decode(request.olds),
            old_inputs=decode(request.old_inputs),
            ignore_changes=tuple(request.ignoreChanges),
        )

        async def answer() -> proto.DiffResponse:
            diffed = await diff(operation)
            replaces = set(diffed.replaces)
            some = proto.DiffResponse.DIFF_SOME if diffed.changes or replaces else proto.DiffResponse.DIFF_NONE
            return proto.DiffResponse(
                changes=some,
                diffs=sorted({name.split(".")[0].split("[")[0] for name in diffed.changes}),
                replaces=sorted(replaces),
                deleteBeforeReplace=diffed.delete_before_replace,
                detailedDiff={
                    name: provider_pb2.PropertyDiff(kind=kind.value[name in replaces]) for name, kind in diffed.changes.items()
                },
                hasDetailedDiff=True,
            )

        return await self._answer(context, operation, answer)

    async def _answer(self, context: Any, request: Request | None, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work; whatever goes wrong becomes one sentence without secrets, never a traceback."""
        hide = partial(self.provider.redact, request) if request else str
        try:
            return await work()
        except InitFailedError as error:
            record(hide(traceback.format_exc()))
            reason = hide(str(error))
            await context.abort(grpc.StatusCode.UNKNOWN, reason, trailing_metadata=_init_failed(error, reason))
        except SandboxError as error:
            record(hide(traceback.format_exc()))
            await context.abort(grpc.StatusCode.UNKNOWN, hide(str(error)))
        except Exception as error:
            record(hide(traceback.format_exc()))
            inner = error.inner if isinstance(error, ComponentInitError) else error
            if isinstance(inner, SandboxError):
                await context.abort(grpc.StatusCode.UNKNOWN, hide(str(inner)))
            where = f"see {os.environ[LOG_ENV]}" if os.environ.get(LOG_ENV) else f"set {LOG_ENV}=FILE to have the traceback"
            what = f"{type(inner).__name__} in the emulated {self.provider.name} provider: {inner}; {where}"
            await context.abort(grpc.StatusCode.INTERNAL, hide(what))
        raise AssertionError("context.abort raises")


def _init_failed(error: InitFailedError, reason: str) -> tuple[tuple[str, bytes], ...]:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identity,
        properties=encode(error.state),
        reasons=[reason],
        inputs=encode(error.inputs) if error.inputs else None,
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)


def serve(make: Callable[[Engine], Provider]) -> None:
    """Run a provider until the engine ends it, or is gone."""
    arguments = argparse.ArgumentParser(description="A Pulumi provider plugin; started by the Pulumi engine.")
    arguments.add_argument("engine", help="address of the engine")
    address = arguments.parse_known_args()[0].engine
    try:
        asyncio.run(_serve(make, address))
    except KeyboardInterrupt:  # from the engine at its end, or by Ctrl-C, which reaches the whole group after a Cancel
        return


async def _serve(make: Callable[[Engine], Provider], address: str) -> None:
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    provider = make(Engine(address))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Host(provider, address), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    try:
        # A killed engine says nothing: its children are handed to another parent.
        while os.getppid() == parent:  # noqa: ASYNC110
            await asyncio.sleep(_PARENT_POLL_S)
    except asyncio.CancelledError:
        provider.dismissed()
        raise
    await server.stop(grace=None)
