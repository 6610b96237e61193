"""Calls of stand-ins: taken from a host's socket, answered by the program of that name, and written down."""

import base64
import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sandbox.hosts.host import Host

_log = logging.getLogger("hosts")
_FIXED = 5


class Refusal(Exception):  # noqa: N818 - the end of a program, not an error of this one
    """A program ends with an exit code, after its last words."""

    def __init__(self, said: str, code: int = 1) -> None:
        super().__init__(said)
        self.code = code


@dataclass
class Call:
    """One run of a stand-in, while it runs."""

    host: Host
    path: str
    directory: str
    user: int
    arguments: list[str]
    environment: dict[str, str]
    _stream: socket.SocketIO = field(repr=False)

    @property
    def program(self) -> str:
        """Its name."""
        return PurePosixPath(self.path).name

    def out(self, text: str) -> None:
        """Prints a line; None of it is kept."""
        self.send("out", f"{text}\n".encode())

    def err(self, text: str) -> None:
        """Prints a line to standard error."""
        self.send("err", f"{text}\n".encode())

    def input(self) -> bytes:
        """All of its standard input."""
        self._stream.write(b"input -\n")
        return base64.b64decode(_line(self._stream))

    def send(self, kind: str, content: bytes) -> None:
        """Output or error output as it is."""
        with suppress(OSError):
            self._stream.write(f"{kind} {base64.b64encode(content).decode()}\n".encode())

    def absolute(self, path: str) -> str:
        """A path as the program sees it."""
        return str(PurePosixPath(self.directory) / path)


Program = Callable[[Call], int]


class Switchboard:
    """Answers the calls of all hosts."""

    def __init__(self, find: Callable[[Call], Program | None], before: Callable[[Call], None], record: Path, key: str) -> None:
        """`before` is called before each program, which may take the host down with it; `record` gets one line of JSON a call."""
        self._find, self._before, self._record, self.key = find, before, record, key
        self._lock = threading.Lock()

    def serve(self, host: Host, listener: socket.socket) -> None:
        """Answers what comes to a socket until it is closed."""
        threading.Thread(target=self._accept, args=(host, listener), daemon=True).start()

    def calls(self) -> list[dict[str, object]]:
        """All of them so far, in the order of their ends."""
        if not self._record.exists():
            return []
        return [json.loads(line) for line in self._record.read_text(encoding="utf-8").splitlines()]

    def _accept(self, host: Host, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(host, connection), daemon=True).start()

    def _answer(self, host: Host, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            stream = socket.SocketIO(connection, "rw")
            key, *words = base64.b64decode(_line(stream)).decode(errors="replace").split("\0")[:-1]
            if key != self.key:
                return
            path, directory, user, count, *rest = words
            arguments = rest[: int(count)]
            environment = dict(entry.partition("=")[::2] for entry in rest[int(count) :])
            call = Call(host, path, directory, int(user), arguments, environment, stream)
            code = self._run(call)
            self._write_down(call, code)
            stream.write(f"exit {code}\n".encode())

    def _run(self, call: Call) -> int:
        try:
            self._before(call)
            program = self._find(call)
            if program is None:
                raise Refusal(f"{call.program}: command not found", 127)
            return program(call)
        except Refusal as refusal:
            if str(refusal):
                call.err(str(refusal))
            return refusal.code
        except Exception as error:
            _log.exception("%s: %s %s", call.host.name, call.program, call.arguments)
            call.err(f"{call.program}: the rehearsal of this program failed: {error}")
            return 70

    def _write_down(self, call: Call, code: int) -> None:
        entry = {
            "host": call.host.name,
            "program": call.program,
            "arguments": call.arguments,
            "user": call.user,
            "exit_code": code,
        }
        with self._lock, self._record.open("a", encoding="utf-8") as record:
            record.write(json.dumps(entry) + "\n")


def _line(stream: socket.SocketIO) -> bytes:
    """Up to the end of line; the rest of a call is small or empty, so a block at a time will do."""
    found = bytearray()
    while not found.endswith(b"\n"):
        block = stream.read(1 << 16)
        if not block:
            break
        found += block
    return bytes(found)
