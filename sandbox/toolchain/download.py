"""The vendor's own release, verified against the checksum file the vendor publishes with it.

Both come from the vendor over TLS, so this catches a damaged or swapped file, not a vendor that was broken into; the Go modules
in build.py are held to sums kept in this repository. Nothing is tried twice: a host that does not answer at once is left alone
for the rest of the run, and a machine without internet loses `CONNECT_SECONDS` in all.
"""

import hashlib
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import httpx

from sandbox.toolchain.progress import Task
from sandbox.toolchain.tools import Download, NoDownload, Tool, UnavailableError, platform_id

CONNECT_SECONDS = 3.0
STALL_SECONDS = 15.0
"""How long a download may bring nothing before it is given up."""


class Downloads:
    """The download attempts of one run, which share what is known of the hosts."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        """Finds out, for all hosts that `tools` may be downloaded from at once, which of them answer."""
        offers = [
            tool.download for tool in tools if isinstance(tool.download, Download) and platform_id() in tool.download.platforms
        ]
        self._unreachable = unreachable({httpx.URL(url) for offer in offers for url in (offer.url, offer.checksums)})

    def offer(self, tool: Tool) -> Download:
        """What may be downloaded of `tool` on this machine; UnavailableError if that is nothing, or its host does not answer."""
        offer = tool.download
        if isinstance(offer, NoDownload):
            raise UnavailableError(offer.unused_because)
        if platform_id() not in offer.platforms:
            raise UnavailableError(f"there is none for {platform_id()}")
        for url in (offer.checksums, offer.url):
            self._require_reachable(httpx.URL(url))
        return offer

    def fetch(self, tool: Tool, binaries: Iterable[str], stage: Path, task: Task) -> None:
        """Puts the verified `binaries` of `tool` into `stage/bin`; UnavailableError if that cannot be done, whatever the reason.

        OSError if `stage` cannot be written.
        """
        offer = self.offer(tool)
        target = stage / "bin"
        target.mkdir()
        files = {tool.fill(offer.url, binary): (binary, tool.fill(offer.checksums, binary)) for binary in binaries}
        for address, (binary, checksums) in files.items():
            url = httpx.URL(address)
            file_name = Path(url.path).name
            file = stage / "download"
            wanted = _listed(self._text(httpx.URL(checksums)), file_name, checksums)
            got = self._stream(url, file, task)
            if got != wanted:
                raise UnavailableError(
                    f"{url} has the SHA-256 sum {got}, and {checksums} says {wanted}: damaged or tampered with, it is not used"
                )
            if offer.members:
                _unpack(file, tool.fill(offer.members), target)
            else:
                file.rename(target / binary)

    def _text(self, url: httpx.URL) -> str:
        with self._response(url) as response:
            response.read()
            return response.text

    def _stream(self, url: httpx.URL, file: Path, task: Task) -> str:
        """Writes the body to `file`; its SHA-256 sum in hexadecimal."""
        digest = hashlib.sha256()
        with self._response(url) as response, file.open("wb") as sink:
            size = int(response.headers.get("content-length", 0))
            for chunk in response.iter_raw():
                sink.write(chunk)
                digest.update(chunk)
                task.report(f"{sink.tell() / 1e6:.0f} of {size / 1e6:.0f} MB" if size else f"{sink.tell() / 1e6:.0f} MB")
        return digest.hexdigest()

    @contextmanager
    def _response(self, url: httpx.URL) -> Iterator[httpx.Response]:
        self._require_reachable(url)
        limits = httpx.Timeout(STALL_SECONDS, connect=CONNECT_SECONDS)
        # Checksums are of the file as published, so nothing on the way may compress it.
        plain = {"Accept-Encoding": "identity"}
        try:
            with httpx.stream("GET", url, timeout=limits, headers=plain, follow_redirects=True) as response:
                response.raise_for_status()
                yield response
        except httpx.HTTPStatusError as error:
            raise UnavailableError(f"{url} answers HTTP {error.response.status_code}") from error
        except httpx.HTTPError as error:
            self._unreachable[url.host] = _reason(error)
            raise UnavailableError(f"{url} broke off ({_reason(error)})") from error

    def _require_reachable(self, url: httpx.URL) -> None:
        if reason := self._unreachable.get(url.host):
            raise UnavailableError(f"{url.host} cannot be reached ({reason})")


def unreachable(urls: Iterable[httpx.URL]) -> dict[str, str]:
    """Host -> why it does not answer; all are asked at the same time, each once, and that takes `CONNECT_SECONDS` at most."""
    outcome: dict[str, str] = {}

    def ask(url: httpx.URL) -> None:
        try:
            httpx.head(url.copy_with(path="/"), timeout=CONNECT_SECONDS)
            outcome[url.host] = ""
        except Exception as error:  # also what a proxy or certificates that are set up wrongly raise: the host is of no use then
            outcome[url.host] = _reason(error)

    by_host = {url.host: url for url in urls}
    # Threads that may be left behind, because no time-out of httpx covers the resolver, which can hang for half a minute.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in by_host.values()]
    deadline = time.monotonic() + CONNECT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {CONNECT_SECONDS:.0f} s"
    return {host: reason for host in by_host if (reason := outcome.get(host, silent))}


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _listed(text: str, file_name: str, source: str) -> str:
    """The SHA-256 sum that a checksum file has for `file_name`: lines of `<sum>  <name>`, or nothing but a sum."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        sums = [lines[0][0]]
    else:
        sums = [line[0] for line in lines if len(line) == 2 and line[1].lstrip("*").removeprefix("./") == file_name]
    if len(sums) != 1 or len(sums[0]) != 64:
        raise UnavailableError(f"{source} has no SHA-256 sum for {file_name}")
    return sums[0].lower()


def _unpack(archive: Path, pattern: str, target: Path) -> None:
    """Writes the regular files whose member name matches into `target`, flat; names in the archive never become paths."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isfile() and fnmatch(member.name, pattern) else None
                if source:
                    with source, (target / Path(member.name).name).open("wb") as sink:
                        while block := source.read(1 << 20):
                            sink.write(block)
    except (tarfile.TarError, EOFError) as error:
        raise UnavailableError(f"{archive.name} cannot be unpacked ({error})") from error
