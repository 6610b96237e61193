"""What attackers ask a gateway for, and how they write it."""

from hypothesis import strategies as st

from components.routing.paths import allowed_paths
from components.serving.groups import Task

ALLOWED = allowed_paths(Task.GENERATE)
DENIED = (
    *("/metrics", "/health", "/ping", "/load", "/version", "/docs", "/openapi.json", "/tokenize", "/detokenize", "/invocations"),
    *("/pooling", "/classify", "/score", "/rerank", "/generative_scoring", "/pause", "/resume", "/is_paused", "/get_world_size"),
    *("/scale_elastic_ep", "/init_weight_transfer_engine", "/update_weights", "/abort_requests", "/collective_rpc", "/sleep"),
    *("/kv_event_sources", "/server_info", "/reset_prefix_cache", "/start_profile", "/tokenizer_info", "/"),
    *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/embeddings", "/v1/score", "/v1/rerank", "/v1", "/v2/rerank"),
    *("/v1/audio/transcriptions", "/v1/files", "/v1/batches", "/inference/v1/generate", "/v1/completions/render"),
    *(f"{path}{more}" for path in ALLOWED for more in ("/", "/x", ";x=/metrics")),
)
"""What an engine answers to as well (vllm-project/vllm, docs/usage/security.md), and kin of what is allowed."""


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Written in ways that somebody on the way might read as another one."""
    base = draw(st.sampled_from([*ALLOWED, *DENIED]))
    detour = draw(st.sampled_from(["", "", "", "/..", "/../..", "/../../..", "/%2e%2e", "/..;", "/%2e./%2E."]))
    if detour:
        base += detour + draw(st.sampled_from([*ALLOWED, *DENIED]))
    separators = st.sampled_from(["/"] * 8 + ["//", "/./", "/x/../", "%2f", "%2F", "%252f", "\\", "%5c", "/%2e/", "/;/", "/%00/"])
    written = "".join(draw(separators) + part for part in base.split("/")[1:])
    if draw(st.booleans()):
        at = draw(st.integers(0, len(written) - 1))
        written = written[:at] + f"%{ord(written[at]):02x}" + written[at + 1 :]
    absolute = ["https://chat.example.com", "http://chat.example.com:80", "http://127.0.0.1:8000"]
    before = draw(st.sampled_from([""] * 6 + [*absolute, "*", "@"]))
    after = draw(st.sampled_from([""] * 6 + ["?", "?/../metrics", "#", "#/metrics", ";x", "%00", "%20", ":", "/", "/."]))
    return before + written + after


def requests(host: str, authorization: str) -> tuple[str, ...]:
    """For `/metrics`, or for `/v1/models` of another host, written so that somebody on the way might read something else."""
    key = f"Authorization: {authorization}\r\n"
    hidden = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n{key}\r\n"
    good = f"POST /v1/models HTTP/1.1\r\nHost: {host}\r\n{key}"
    return (
        f"{good}Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"{good}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
        f"{good}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
        f"{good}Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
        f"{good}Content-Length: 0\r\n\r\n{hidden}",
        f"{good}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n{hidden}",
        f"{good}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{hidden}",
        f"{good}X-Original-Url: /metrics\r\nX-Rewrite-Url: /metrics\r\nX-Envoy-Original-Path: /metrics\r\n\r\n",
        f"{good}X-Http-Method-Override: DELETE\r\n :path: /metrics\r\n\r\n",
        f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n{key}\r\n",
        f"GET /v1/models HTTP/1.1\r\nHost: other.example.com\r\nHost: {host}\r\n{key}\r\n",
        f"GET http://{host}/metrics HTTP/1.1\r\nHost: {host}\r\n{key}\r\n",
        f"GET http://other.example.com/v1/models HTTP/1.1\r\nHost: {host}\r\n{key}\r\n",
        f"GET /metrics HTTP/1.0\r\nHost: {host}\r\n{key}\r\n",
        f"CONNECT {host}:8000 HTTP/1.1\r\nHost: {host}\r\n{key}\r\n{hidden}",
        f"CONNECT /metrics HTTP/1.1\r\nHost: {host}\r\n{key}\r\n",
        f"GET /metrics\r\n{key}\r\n",
        f"GET /v1/models HTTP/1.1\r\n{key}\r\n",
        f"GET /v1/models\0/../../metrics HTTP/1.1\r\nHost: {host}\r\n{key}\r\n",
        f"GET /v1/models HTTP/1.1\nHost: {host}\n{key}\nGET /metrics HTTP/1.1\nHost: {host}\n\n",
    )
