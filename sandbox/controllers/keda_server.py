"""The HTTPS server behind an API that a chart brings: the real API server asks it, as it asks the pods of such a chart."""

import asyncio
import datetime
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.control_plane.files import write_private
from sandbox.control_plane.ports import LOOPBACK

Answer = Callable[[str], Coroutine[None, None, tuple[int, dict[str, Any]]]]
"""What a path with its query is answered with: status and content."""
_ANSWER_S = 10.0


@contextmanager
def serve(name: str, clients: str, answer: Answer) -> Iterator[tuple[int, bytes]]:
    """Answers GET on loopback under the DNS name `name`, to clients of the authority `clients` (PEM) only.

    Yields the port and the certificate to trust (PEM). `answer` runs in the loop that calls this.
    """
    context, certificate = _tls(name, clients)
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(asyncio.get_running_loop(), answer))
    # The handshake is for the thread of the connection: one that never comes must not hold the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], certificate
    finally:
        server.shutdown()
        server.server_close()


def _handler(loop: asyncio.AbstractEventLoop, answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            code, content = asyncio.run_coroutine_threadsafe(answer(self.path), loop).result(_ANSWER_S)
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """The API server's audit log has it all."""

    return Handler


def _tls(name: str, clients: str) -> tuple[ssl.SSLContext, bytes]:
    """A certificate that is its own authority, made anew each time, as KEDA's operator makes one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "llm-platform rehearsal")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=clients)
    with tempfile.TemporaryDirectory() as folder:  # the library reads keys from files only
        file = Path(folder) / "tls.pem"
        write_private(file, encoded + private)
        context.load_cert_chain(file)
    return context, encoded
