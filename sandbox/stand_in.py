"""A small server that answers as vLLM would, on loopback: for checks of servers where there is no accelerator.

What it does follows from the engine's command line, so a wrong flag shows. It generates nothing and knows no weights. Statuses
and bodies are those of vllm-project/vllm 0.33.0, vllm/entrypoints: serve/middleware/authenticate.py, openai/models/serving.py,
serve/engine/serving.py.
"""

import contextlib
import json
import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from components.serving.arguments import check_flags
from components.serving.verification import expected_metrics
from sandbox.errors import SandboxError

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
"""Paths an API key guards; all others answer anybody."""
_NUMBER = re.compile(r"-\d+(\.\d+)?")


class Misbehaviour(StrEnum):
    """One way in which a server can be wrong."""

    NOT_HEALTHY = "answers /health with 503"
    HANGS = "accepts requests and never answers"
    DROPS = "closes connections without an answer"
    OTHER_VERSION = "runs another version"
    LISTS_NOTHING = "lists no model"
    OTHER_NAME = "serves the model under another name"
    ADAPTER_MISSING = "has not loaded an adapter"
    ADAPTER_BREAKS = "fails for requests to an adapter"
    ANSWERS_WITHOUT_KEY = "answers requests without a key"
    ANSWERS_WRONG_KEY = "takes any key"
    REFUSES_KEY = "refuses the key"
    ASKS_FOR_KEY = "asks for a key nobody has"
    FAILS = "fails for every completion"
    GENERATES_NOTHING = "answers with no token"
    EMBEDS_NOTHING = "answers with an embedding of zeros"
    NOT_JSON = "answers with a page"
    ANSWERS_AS_ANOTHER = "answers as another model"
    ANSWERS_ANY_NAME = "answers for models there are not"
    NO_METRICS_PAGE = "has no /metrics"
    NO_METRICS = "has no metrics of the engine"
    METRIC_MISSING = "lacks one metric"
    METRICS_OF_ANOTHER = "has metrics of another model"
    COUNTS_NOTHING = "counts nothing"


@dataclass(frozen=True)
class CommandLine:
    """What of an engine's command line decides how it answers."""

    names: tuple[str, ...]
    adapters: tuple[str, ...]
    port: int
    pooling: bool
    keys: tuple[str, ...]
    lora: bool
    speculative: bool
    statistics: bool
    version: str

    @classmethod
    def read(cls, arguments: Sequence[str], version: str, keys: Sequence[str] = ()) -> "CommandLine":
        """Arguments of `vllm serve`; `keys` are those of its environment.

        Raises SandboxError with the rest of a sentence about the pod where the engine would end at once.
        """
        flags, model = _flags(arguments)
        try:
            check_flags(flags, version)
        except ValueError as error:
            raise SandboxError(f"has arguments that no stand-in starts with: {error}") from None
        lora = "--enable-lora" in flags
        adapters = flags.get("--lora-modules", [])
        if adapters and not lora:
            raise SandboxError("has arguments that no engine starts with: --lora-modules needs --enable-lora")
        return cls(
            names=tuple(flags.get("--served-model-name") or [model]),
            adapters=tuple(_adapter_name(adapter) for adapter in adapters),
            port=int(flags.get("--port", ["8000"])[0]),
            pooling=flags.get("--runner") == ["pooling"],
            keys=tuple(flags.get("--api-key") or keys),
            lora=lora,
            speculative=bool({"--speculative-config", "--spec-method"} & set(flags)),
            statistics="--disable-log-stats" not in flags,
            version=version,
        )


def _flags(arguments: Sequence[str]) -> tuple[dict[str, list[str]], str]:
    """Every long flag with the words after it, and the model: the first word before any flag, else that of `--model`."""
    flags: dict[str, list[str]] = {}
    current: list[str] = []
    positional = current
    for word in arguments:
        if word.startswith("-") and not _NUMBER.fullmatch(word):
            flag, equals, value = word.partition("=")
            current = flags[flag.replace("_", "-") if flag.startswith("--") else flag] = [value] if equals else []
        else:
            current.append(word)
    return flags, (positional or flags.get("--model") or ["Qwen/Qwen3-0.6B"])[0]


def _adapter_name(module: str) -> str:
    return str(json.loads(module)["name"]) if module.startswith("{") else module.partition("=")[0]


@contextlib.contextmanager
def serving(line: CommandLine, address: str, misbehaviour: Misbehaviour | None = None) -> Iterator[int]:
    """The port at which a stand-in answers meanwhile: its command line's, or any free one when that is 0."""
    ended = threading.Event()

    class Handler(_Handler):
        engine = _Engine(line, misbehaviour, ended)

    server = ThreadingHTTPServer((address, line.port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class _Reply:
    status: int
    body: str
    kind: str = "application/json"

    @classmethod
    def json(cls, content: Any, status: int = 200) -> "_Reply":
        return cls(status, json.dumps(content))

    @classmethod
    def error(cls, status: int, message: str) -> "_Reply":
        return cls.json({"error": {"message": message, "type": "error", "param": None, "code": status}}, status)


class _Engine:
    """The answers of one stand-in."""

    def __init__(self, line: CommandLine, misbehaviour: Misbehaviour | None, ended: threading.Event) -> None:
        self._line = line
        self._wrong = misbehaviour
        self._ended = ended
        self._prompt_tokens = 0
        self._keys = (
            (secrets.token_hex(),) if misbehaviour in (Misbehaviour.REFUSES_KEY, Misbehaviour.ASKS_FOR_KEY) else line.keys
        )

    def reply(self, path: str, authorization: str, body: bytes | None) -> _Reply | None:
        """None closes the connection."""
        if self._wrong is Misbehaviour.HANGS and path.startswith("/v1"):
            self._ended.wait()
        if self._wrong is Misbehaviour.DROPS and path.startswith("/v1"):
            return None
        if self._is_refused(path, authorization):
            return _Reply.json({"error": "Unauthorized"}, 401)
        answering = "/v1/embeddings" if self._line.pooling else "/v1/completions"
        match path, body:
            case "/health", None:
                return _Reply(503 if self._wrong is Misbehaviour.NOT_HEALTHY else 200, "", "text/plain")
            case "/version", None:
                return _Reply.json({"version": "0.1.0" if self._wrong is Misbehaviour.OTHER_VERSION else self._line.version})
            case "/metrics", None:
                return self._metrics()
            case "/v1/models", None:
                return _Reply.json({"object": "list", "data": self._models()})
            case _, bytes() if path == answering:
                return self._answer(json.loads(body))
            case _:
                return _Reply.json({"detail": "Not Found"}, 404)

    def _is_refused(self, path: str, authorization: str) -> bool:
        if not self._keys or not path.startswith(_GUARDED):
            return False
        if self._wrong is Misbehaviour.ANSWERS_WITHOUT_KEY and not authorization:
            return False
        if self._wrong is Misbehaviour.ANSWERS_WRONG_KEY and authorization:
            return False
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() != "bearer" or key not in self._keys

    def _names(self) -> tuple[str, ...]:
        return ("another-model",) if self._wrong is Misbehaviour.OTHER_NAME else self._line.names

    def _adapters(self) -> tuple[str, ...]:
        return self._line.adapters[1:] if self._wrong is Misbehaviour.ADAPTER_MISSING else self._line.adapters

    def _models(self) -> list[dict[str, Any]]:
        if self._wrong is Misbehaviour.LISTS_NOTHING:
            return []
        parents = dict.fromkeys(self._names()) | dict.fromkeys(self._adapters(), self._names()[0])
        return [{"id": name, "object": "model", "owned_by": "vllm", "parent": parent} for name, parent in parents.items()]

    def _answer(self, request: Mapping[str, Any]) -> _Reply:
        name = str(request["model"])
        known = {*self._names(), *self._adapters()}
        if name not in known and self._wrong is not Misbehaviour.ANSWERS_ANY_NAME:
            return _Reply.error(404, f"The model `{name}` does not exist.")
        if self._wrong is Misbehaviour.FAILS or (self._wrong is Misbehaviour.ADAPTER_BREAKS and name in self._adapters()):
            return _Reply.error(500, "CUDA error: an illegal memory access was encountered")
        if self._wrong is Misbehaviour.NOT_JSON:
            return _Reply(200, "<html>welcome</html>", "text/html")
        self._prompt_tokens += 6
        # A request to an alias is answered under the first name.
        said = (
            "another-model"
            if self._wrong is Misbehaviour.ANSWERS_AS_ANOTHER
            else name
            if name in self._adapters()
            else self._names()[0]
        )
        if self._line.pooling:
            vector = [0.0] * 4 if self._wrong is Misbehaviour.EMBEDS_NOTHING else [0.5, -0.5, 0.5, 0.5]
            data = [{"object": "embedding", "index": 0, "embedding": vector}]
            return _Reply.json({"object": "list", "model": said, "data": data, "usage": {"prompt_tokens": 6}})
        text = "" if self._wrong is Misbehaviour.GENERATES_NOTHING else " four, five, six,"
        usage = {"prompt_tokens": 6, "completion_tokens": int(request.get("max_tokens") or 16) if text else 0}
        choice = {"index": 0, "text": text, "finish_reason": "length"}
        return _Reply.json({"object": "text_completion", "model": said, "choices": [choice], "usage": usage})

    def _metrics(self) -> _Reply:
        if self._wrong is Misbehaviour.NO_METRICS_PAGE:
            return _Reply.json({"detail": "Not Found"}, 404)
        names: Sequence[str] = ()
        if self._line.statistics and self._wrong is not Misbehaviour.NO_METRICS:
            names = expected_metrics(self._line.version, lora=self._line.lora, speculative=self._line.speculative)
        model = "another-model" if self._wrong is Misbehaviour.METRICS_OF_ANOTHER else self._names()[0]
        counted = 0 if self._wrong is Misbehaviour.COUNTS_NOTHING else self._prompt_tokens
        lines = ["# HELP python_info Python platform information", "# TYPE python_info gauge", 'python_info{version="3.12"} 1.0']
        for name in names[1:] if self._wrong is Misbehaviour.METRIC_MISSING else names:
            value = float(counted) if name == "vllm:prompt_tokens_total" else 0.0
            lines += [f"# HELP {name} of the engine", f'{name}{{engine="0",model_name="{model}"}} {value}']
        return _Reply(200, "\n".join([*lines, ""]), "text/plain; version=0.0.4; charset=utf-8")


class _Handler(BaseHTTPRequestHandler):
    engine: _Engine

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _reply(self, body: bytes | None) -> None:
        reply = self.engine.reply(self.path, self.headers.get("Authorization") or "", body)
        if reply is None:
            return
        content = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Nobody reads what every request was."""
