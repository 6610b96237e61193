"""curl, and what it finds: releases of k3s, package repositories of NVIDIA, the servers of the cluster."""

import hashlib
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from sandbox.hosts.base import STAND_INS
from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.faults import Fault
from sandbox.hosts.programs.options import parse

ARCHITECTURES = ("amd64", "arm64")
_RELEASE = re.compile(r"https://github\.com/k3s-io/k3s/releases/download/(v[\d.]+\+k3s\d+)/([\w.-]+)")
_INSTALLER = re.compile(r"https://(get\.k3s\.io/?|raw\.githubusercontent\.com/k3s-io/k3s/[^/]+/install\.sh)")
_NVIDIA = "https://nvidia.github.io/libnvidia-container"
_FILES = {
    f"{_NVIDIA}/gpgkey": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nrehearsed\n-----END PGP PUBLIC KEY BLOCK-----\n",
    f"{_NVIDIA}/stable/deb/nvidia-container-toolkit.list": f"deb {_NVIDIA}/stable/deb/$(ARCH) /\n",
    f"{_NVIDIA}/stable/rpm/nvidia-container-toolkit.repo": (
        f"[nvidia-container-toolkit]\nname=nvidia-container-toolkit\nbaseurl={_NVIDIA}/stable/rpm/$basearch\nenabled=1\n"
        f"gpgcheck=0\nrepo_gpgcheck=1\ngpgkey={_NVIDIA}/gpgkey\n"
    ),
}
_CUDA = re.compile(r"https://developer\.download\.nvidia\.com/compute/cuda/repos/rhel\d+/(x86_64|sbsa)/cuda-rhel\d+\.repo")

# Exit codes: curl(1), EXIT CODES.
_NO_HOST, _REFUSED, _HTTP, _WRITE, _TIMEOUT, _CERTIFICATE, _RECEIVE = 6, 7, 22, 23, 28, 60, 56


def release_file(version: str, name: str) -> bytes | None:
    """A file of a release of k3s; None for one it has not."""
    if found := re.fullmatch(r"k3s(-arm64)?", name):
        return f"#!/usr/bin/bash\n# k3s {version} {(found[1] or '-amd64')[1:]}\n. {STAND_INS}/client\n".encode()
    if found := re.fullmatch(r"k3s-airgap-images-(amd64|arm64)\.tar\.zst", name):
        return f"rehearsed images of k3s {version} {found[1]}\n".encode()
    if found := re.fullmatch(r"sha256sum-(amd64|arm64)\.txt", name):
        suffix = "" if found[1] == "amd64" else "-arm64"
        names = (f"k3s{suffix}", f"k3s-airgap-images-{found[1]}.tar.zst")
        return "".join(f"{hashlib.sha256(release_file(version, each) or b'').hexdigest()}  {each}\n" for each in names).encode()
    return None


def installer() -> bytes:
    """install.sh of k3s, for any shell."""
    return f'#!/bin/sh\n# k3s installer, rehearsed\nexec {STAND_INS}/install.sh "$@"\n'.encode()


def fetch(url: str) -> bytes | None:
    """What is on the internet at `url`; None where there is nothing."""
    url = unquote(url)
    if found := _RELEASE.fullmatch(url):
        return release_file(found[1], found[2])
    if _INSTALLER.fullmatch(url):
        return installer()
    if _CUDA.fullmatch(url):
        return b"[cuda-rhel9-x86_64]\nname=cuda-rhel9-x86_64\nenabled=1\ngpgcheck=1\n"
    return _FILES[url].encode() if url in _FILES else None


def curl(pong: Callable[[str], bool]) -> Program:
    """curl(1); `pong` tells whether a k3s server answers at an address."""

    def program(call: Call) -> int:
        flags = {"-f", "-s", "-S", "-L", "-k", "-O", "--fail", "--silent", "--show-error", "--location", "--insecure"}
        values = {"-o", "--output", "-m", "--max-time", "--retry", "--retry-delay", "--connect-timeout", "-w", "--retry-max-time"}
        values |= {"--speed-limit", "--speed-time"}
        options = parse("curl", call.arguments, flags | {"--retry-all-errors", "--retry-connrefused"}, values)
        if len(options.rest) != 1:
            raise Refusal("curl: (2) no URL specified", 2)
        url = options.rest[0]
        target = options.values.get("-o") or options.values.get("--output")
        if "-O" in options.flags:
            target = urlsplit(url).path.rpartition("/")[2]
        address = urlsplit(url)
        if address.path == "/ping" and address.port == 6443:
            if not pong(str(address.hostname)):
                raise Refusal(f"curl: (7) Failed to connect to {address.hostname} port 6443: Connection refused", _REFUSED)
            if not {"-k", "--insecure"} & options.flags:
                raise Refusal("curl: (60) SSL certificate problem: unable to get local issuer certificate", _CERTIFICATE)
            return _deliver(call, target, b"pong")
        return _deliver(call, target, _from_internet(call, url, target, fail=bool({"-f", "--fail"} & options.flags)))

    return program


def _from_internet(call: Call, url: str, target: str | None, *, fail: bool) -> bytes:
    host = call.host
    if not host.state.spec.internet:
        raise Refusal(f"curl: (6) Could not resolve host: {urlsplit(url).hostname}", _NO_HOST)
    content = fetch(url)
    if content is None:
        if fail:
            raise Refusal("curl: (22) The requested URL returned error: 404", _HTTP)
        return b"404: Not Found"
    if host.troubles.strike(Fault.DOWNLOAD):
        _deliver(call, target, content[: len(content) // 2])
        raise Refusal("curl: (56) Recv failure: Connection reset by peer", _RECEIVE)
    is_program = b"rehearsed images" in content or content.startswith(b"#!/usr/bin/bash")
    if is_program and host.troubles.strike(Fault.CHECKSUM):
        return content + b"# damaged\n"
    return content


def _deliver(call: Call, target: str | None, content: bytes) -> int:
    if target is None:
        call.send("out", content)
        return 0
    if target == "/dev/null":
        return 0
    if call.host.troubles.holds(Fault.DISK_FULL):
        raise Refusal("curl: (23) Failure writing output to destination", _WRITE)
    path = call.absolute(target)
    if not call.host.tree.resolve(path).parent.is_dir():
        raise Refusal(f"curl: (23) Failed to open the file {target}: No such file or directory", _WRITE)
    call.host.tree.write(path, content)
    return 0
