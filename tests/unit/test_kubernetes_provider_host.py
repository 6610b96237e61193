"""The plugin host over real gRPC: what the engine gets when things go wrong."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from sandbox.plugins import EMULATED
from sandbox.providers.contract import ChangeKind, Checked, Diffed, InitFailedError, Live, ProviderError, Request
from sandbox.providers.engine import LOG_ENV, Engine
from sandbox.providers.host import Host, Provider
from sandbox.providers.properties import UNKNOWN, Properties, decode, encode

URN = "urn:pulumi:dev::p::kubernetes:core/v1:Secret::token"
SECRET = Properties({"token": "canary-token"}, frozenset({("token",)}))


class Failing(Provider):
    """Fails in every way a provider can."""

    name = "failing"
    version = "1.2.3"

    async def create_resource(self, request: Request) -> Live:
        if request.preview:
            return Live("", Properties({"later": UNKNOWN}))
        if request.timeout == 1:
            raise InitFailedError("0 of 1 ready, token canary-token", "ns/name", SECRET)
        if request.timeout == 2:
            raise ProviderError("refused canary-token")
        raise KeyError("canary-token")

    async def check_resource(self, request: Request) -> Checked:
        return Checked(request.inputs, (("spec.a", "must not be canary-token"),))

    async def diff_settings(self, request: Request) -> Diffed:
        return Diffed({"kubeconfig": ChangeKind.UPDATE, "namespace": ChangeKind.ADD}, ("kubeconfig",))

    async def read_resource(self, request: Request) -> Live:
        return Live()

    async def delete_resource(self, request: Request) -> None:
        await self.cancelled.wait()
        raise ProviderError("cancelled")


def talk(conversation: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        server = grpc.aio.server()
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(Host(Failing(Engine("127.0.0.1:1")), "127.0.0.1:1"), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                return await conversation(provider_pb2_grpc.ResourceProviderStub(channel))
            finally:
                await server.stop(None)

    return asyncio.run(run())


def failed_create(timeout: float) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        talk(lambda stub: stub.Create(provider_pb2.CreateRequest(urn=URN, properties=encode(SECRET), timeout=timeout)))
    return caught.value


def test_a_refusal_is_one_sentence_without_secrets() -> None:
    assert failed_create(2).details() == "refused [secret]"


def test_a_surprise_says_where_the_traceback_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOG_ENV, raising=False)
    hint = f"set {LOG_ENV}=FILE to have the traceback"
    assert failed_create(3).details() == f"KeyError in the emulated failing provider: '[secret]'; {hint}"
    monkeypatch.setenv(LOG_ENV, str(tmp_path / "log"))
    assert failed_create(3).details().endswith(f"; see {tmp_path / 'log'}")
    log = (tmp_path / "log").read_text()
    assert "Traceback" in log
    assert "canary-token" not in log


def test_what_exists_but_is_not_ready_is_handed_to_the_engine() -> None:
    error = failed_create(1)
    assert error.details() == "0 of 1 ready, token [secret]"
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert (detail.id, list(detail.reasons)) == ("ns/name", ["0 of 1 ready, token [secret]"])
    assert decode(detail.properties) == SECRET


def test_check_failures_carry_their_path_and_no_secret() -> None:
    answer = talk(lambda stub: stub.Check(provider_pb2.CheckRequest(urn=URN, news=encode(SECRET))))
    assert [(failure.property, failure.reason) for failure in answer.failures] == [("", "spec.a: must not be [secret]")]
    assert decode(answer.inputs) == SECRET


def test_diff_config_names_kinds_and_replacements() -> None:
    answer = talk(lambda stub: stub.DiffConfig(provider_pb2.DiffRequest(urn=URN)))
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(answer.replaces) == ["kubeconfig"]
    kinds = {name: diff.kind for name, diff in answer.detailedDiff.items()}
    assert kinds == {"kubeconfig": provider_pb2.PropertyDiff.UPDATE_REPLACE, "namespace": provider_pb2.PropertyDiff.ADD}


def test_what_is_gone_has_no_properties() -> None:
    answer = talk(lambda stub: stub.Read(provider_pb2.ReadRequest(urn=URN, id="x", properties=encode(SECRET))))
    assert not answer.id
    assert not answer.HasField("properties")


def test_unknowns_survive_a_preview() -> None:
    answer = talk(lambda stub: stub.Create(provider_pb2.CreateRequest(urn=URN, preview=True)))
    assert decode(answer.properties).values == {"later": UNKNOWN}


def test_functions_and_schemas_are_refused_in_words() -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"the function a:b:c is not part of the emulated failing provider"):
        talk(lambda stub: stub.Invoke(provider_pb2.InvokeRequest(tok="a:b:c")))
    with pytest.raises(grpc.aio.AioRpcError, match="has no schema"):
        talk(lambda stub: stub.GetSchema(provider_pb2.GetSchemaRequest()))


def test_cancel_ends_what_is_running() -> None:
    async def conversation(stub: Any) -> str:
        deleting = asyncio.ensure_future(stub.Delete(provider_pb2.DeleteRequest(urn=URN, id="x")))
        await asyncio.sleep(0.05)
        assert not deleting.done()
        await stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await deleting
        return str(caught.value.details())

    assert talk(conversation) == "cancelled"


def test_the_executable_prints_a_port_first_and_ends_with_its_parent(tmp_path: Path) -> None:
    # The parent here is a shell that starts the plugin in the background, passes its first line on, and ends.
    out = tmp_path / "out"
    plugin_file = EMULATED / "pulumi-resource-kubernetes"
    start = f'"{plugin_file}" 127.0.0.1:1 > "{out}" 2>&1 & echo $!'
    script = f'{start}; while ! [ -s "{out}" ]; do sleep 0.05; done'
    environment = {**os.environ, "LLM_PLATFORM_PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert out.read_text().strip().isdigit()
    plugin = int(done.stdout)
    give_up = time.monotonic() + 10
    while psutil.pid_exists(plugin) and psutil.Process(plugin).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up
        time.sleep(0.05)
