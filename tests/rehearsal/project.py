"""A copy of this project that a test may change and rehearse, through the command line a person uses."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from sandbox.aws.account import Account
from sandbox.aws.clusters import clusters
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import Layout
from sandbox.control_plane.pki import Pki
from sandbox.control_plane.record import Record


@dataclass(frozen=True)
class RehearsedProject:
    """The project's files in a directory of their own, importing the code under test."""

    root: Path
    source: Path
    stack: str = "local"

    @classmethod
    def make(cls, source: Path, directory: Path, stack: str = "local") -> "RehearsedProject":
        """Copy what makes a directory a project; the components stay where they are."""
        for name in ("Pulumi.yaml", "__main__.py"):
            shutil.copy(source / name, directory / name)
        (directory / "stacks").mkdir()
        shutil.copy(source / f"stacks/Pulumi.{stack}.yaml", directory / f"stacks/Pulumi.{stack}.yaml")
        return cls(directory, source, stack)

    @property
    def stack_file(self) -> Path:
        return self.root / "stacks" / f"Pulumi.{self.stack}.yaml"

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply `change` to the stack's configuration."""
        content = yaml.safe_load(self.stack_file.read_text())
        change(content["config"])
        self.stack_file.write_text(yaml.safe_dump(content))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`python -m sandbox ARGUMENTS STACK`, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments, self.stack],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.source)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=900)
        return process.returncode, output

    def succeed(self, *arguments: str) -> str:
        """What was printed by a command that has to succeed."""
        code, output = self.run(*arguments)
        assert code == 0, output
        return output

    def changes(self) -> dict[str, str]:
        """What a preview would do with each resource (type and name) it would touch: `update`, `replace`, `create` …"""
        steps = json.loads(self.succeed("preview", "--json"))
        parts_of_a_replacement = ("create-replacement", "replace", "delete-replaced")
        return {
            f"{step['type'].rpartition(':')[2]} {step['urn'].rpartition('::')[2]}": "replace"
            if step["op"] in parts_of_a_replacement
            else step["op"]
            for step in steps
        }

    def drift(self) -> dict[str, Any]:
        """What `python -m report drift` says of the rehearsal, as JSON; ends with 1 exactly where something is nobody's."""
        done = subprocess.run(
            [sys.executable, "-m", "report", "drift", self.stack, "--rehearsed", "--json"],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.source)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == bool(said["drift"])
        return said

    def account(self) -> Account:
        """The stack's emulated AWS account."""
        return Account(self.stack, self.root / ".sandbox" / "accounts")

    def api(self) -> Api:
        """The stack's API server, as its administrator."""
        layout = Layout(self.root / ".sandbox" / "clusters" / self.stack)
        if not layout.record.exists():
            # On EKS the control plane is the account's.
            (kubeconfig,) = clusters(self.account().home).values()
            server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
            return Api(server, Pki(kubeconfig.parent / "pki"), "admin")
        record = Record.load(layout.record)
        return Api(f"https://127.0.0.1:{record.ports['kube-apiserver']}", layout.pki, "admin")

    def events(self, collection: str, version: str) -> list[dict[str, Any]]:
        """What happened to the collection at that path since a resource version."""
        layout = Layout(self.root / ".sandbox" / "clusters" / self.stack)
        server = f"https://127.0.0.1:{Record.load(layout.record).ports['kube-apiserver']}"
        with httpx.Client(base_url=server, verify=layout.pki.tls_context("admin"), trust_env=False, timeout=60) as client:
            query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
            events = [json.loads(line) for line in client.get(collection, params=query).text.splitlines()]
        assert not [event for event in events if event["type"] == "ERROR"], events
        return events

    @contextlib.contextmanager
    def watching(self, versions: Mapping[str, str]) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """What happens meanwhile to the collections at these paths, from these resource versions on; whole after the block.

        Read while it happens: an API server forgets what is older than a minute.
        """
        seen: dict[str, list[dict[str, Any]]] = {path: [] for path in versions}
        done = threading.Event()

        def follow(path: str) -> None:
            version, last = versions[path], False
            while not last:
                last = done.is_set()
                found = self.events(path, version)
                seen[path] += found
                version = found[-1]["object"]["metadata"]["resourceVersion"] if found else version

        with ThreadPoolExecutor() as pool:
            following = [pool.submit(follow, path) for path in versions]
            try:
                yield seen
            finally:
                done.set()
            for each in following:
                each.result()

    def processes(self) -> list[psutil.Process]:
        """Every process that has this project's directory in its command line."""
        running = psutil.process_iter(["cmdline"])
        return [process for process in running if any(str(self.root) in word for word in process.info["cmdline"] or [])]
