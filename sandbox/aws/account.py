"""An emulated AWS account: started, looked at and deleted as one thing."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sandbox.aws.facts import require_known_quotas
from sandbox.aws.faults import Fault
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.files import private_directory
from sandbox.control_plane.ports import LOOPBACK
from sandbox.daemon import Daemon
from sandbox.errors import SandboxError
from sandbox.plain_http import request

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_START_WAIT_S = 180.0
_ANSWER_S = 60.0


@dataclass(frozen=True)
class AccountStatus:
    """An account as it is now."""

    name: str
    running: bool
    endpoint: str | None
    """The one URL of every service; None when it does not run."""
    region: str | None
    pid: int | None
    fresh: bool = False
    """Whether the very `start` that returned this began an empty account."""


class Account:
    """One emulated account with everything it owns under `root`/`name`.

    Its contents live in the memory of one process and are gone when that ends, with `stop`, a crash or a reboot: a start after
    that begins an empty account. Commands on one account wait for each other.
    """

    def __init__(self, name: str, root: Path) -> None:
        """Touches nothing yet; `root` holds one directory per account. Raises SandboxError for a name that cannot be a path."""
        if not _NAME.fullmatch(name):
            raise SandboxError(f"{name!r} is no account name; use up to 40 lower-case letters, digits and dashes, e.g. prod")
        self.name = name
        self._daemon = Daemon(
            package="aws",
            record=root.resolve() / name / "account.json",
            kind="the rehearsed account",
            name=f"the rehearsed account {name}",
            start_wait_s=_START_WAIT_S,
            sweep=self._sweep,
        )

    @property
    def endpoint(self) -> str | None:
        """The account's URL, None while it does not run."""
        return self.status().endpoint

    @property
    def home(self) -> Path:
        """Where its clusters keep their data: what `sandbox.aws.clusters` asks for."""
        return self._daemon.directory / "eks"

    @property
    def log(self) -> Path:
        """What its process writes."""
        return self._daemon.log

    def start(self, region: str, quotas: Mapping[str, float]) -> AccountStatus:
        """Makes the account run and answer; one that runs is left alone but for its quotas (vCPUs by quota code).

        Raises SandboxError with the reason when it does not start, runs in another region, or a quota code is unknown.
        """
        require_known_quotas(quotas)
        with self._daemon.exclusive():
            before = self.status()
            if before.running and before.region != region:
                raise SandboxError(
                    f"the rehearsed account {self.name} runs in {before.region}, not in {region}; "
                    f"`python -m sandbox down` or `reset` ends it, then it can start in {region}"
                )
            if not before.running:
                self._sweep()
                home = private_directory(self.home)
                self._daemon.start(home, f"--region={region}", environment={}, answers=self._answers)
            self._request("PUT", "quotas", dict(quotas))
            now = self.status()
        return AccountStatus(now.name, now.running, now.endpoint, now.region, now.pid, fresh=not before.running)

    def stop(self) -> None:
        """Ends the process, which ends the account's clusters and forgets its contents. Does nothing when nothing runs."""
        self._daemon.stop()

    def reset(self) -> None:
        """Ends the process and deletes everything the account has written."""
        self._daemon.reset()

    def status(self) -> AccountStatus:
        """How the account is now; waits for no other command."""
        running = self._daemon.running()
        if running is None:
            return AccountStatus(self.name, False, None, None, None)
        return AccountStatus(self.name, True, running.endpoint, _argument(running.argv, "region"), running.pid)

    def environment(self) -> dict[str, str]:
        """What AWS's clients need in their environment to talk to this account, and to nothing else.

        Raises SandboxError when it does not run.
        """
        status = self._running()
        bypass = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), LOOPBACK)))
        return {
            "AWS_ENDPOINT_URL": str(status.endpoint),
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": str(status.region),
            "AWS_DEFAULT_REGION": str(status.region),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_RETRY_MODE": "standard",
            "AWS_MAX_ATTEMPTS": "2",  # with 1, botocore adds "reached max retries" to the message of every error
            "NO_PROXY": bypass,
            "no_proxy": bypass,
        }

    def inventory(self) -> dict[str, list[str]]:
        """What users have made and not deleted, by kind; what AWS makes or keeps by itself is left out."""
        found: dict[str, list[str]] = self._request("GET", "inventory")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """The mutating calls so far, in order: service, operation, urn, status, and whether the answer was a remembered one."""
        found: list[dict[str, Any]] = self._request("GET", "calls")
        return found

    def break_down(self, fault: Fault | None) -> None:
        """From now on something goes wrong, or nothing any more; calls are counted from 0 again."""
        if fault is None:
            self._request("DELETE", "faults")
        else:
            self._request("POST", "faults", fault.model_dump(exclude_none=True))

    def counted(self) -> int:
        """How many mutating calls of the provider there were since the last `break_down`."""
        return int(self._request("GET", "faults")["counted"])

    def _answers(self) -> bool:
        endpoint = self.endpoint
        if endpoint is None:
            return False
        try:
            return request("GET", f"{endpoint}/_sandbox/health", timeout=_ANSWER_S).is_success
        except httpx.TransportError:
            return False

    def _sweep(self) -> None:
        """Ends and deletes the clusters of an account whose process died without doing so."""
        for instance in list(self.home.glob("clusters/*/instance.json")):  # their directories go meanwhile
            ControlPlane(instance.parent.name, instance.parent.parent).reset()
        shutil.rmtree(self.home, ignore_errors=True)

    def _running(self) -> AccountStatus:
        status = self.status()
        if not status.running:
            raise SandboxError(f"the rehearsed account {self.name} does not run; `python -m sandbox start {self.name}` starts it")
        return status

    def _request(self, method: str, route: str, body: Any = None) -> Any:
        url = f"{self._running().endpoint}/_sandbox/{route}"
        try:
            response = request(method, url, json=body, timeout=_ANSWER_S)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise SandboxError(f"the rehearsed account {self.name} does not answer ({error}); its log is {self.log}") from error
        return response.json()


def _argument(argv: tuple[str, ...], name: str) -> str:
    """The value a process was started with."""
    return next(item for item in argv if item.startswith(f"--{name}=")).partition("=")[2]
