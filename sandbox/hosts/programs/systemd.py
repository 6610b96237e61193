"""systemctl and journalctl, over unit files that are really there: systemctl(1), journalctl(1), systemd.service(5)."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.host import Host
from sandbox.hosts.programs.options import parse

_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system")
_WANTS = "/etc/systemd/system/multi-user.target.wants"
_BUILT_IN = {"ssh.service", "sshd.service", "systemd-timesyncd.service", "chronyd.service"}
"""Units that run on every host and have no file here."""
_FLAGS = ("--now", "--no-block", "--quiet", "-q", "--no-pager", "-l", "--full", "-f", "--force")
_VERBS = ("start", "restart", "stop", "enable", "disable", "reset-failed")
_NOT_LOADED, _INACTIVE = 5, 3


@dataclass(frozen=True)
class Service:
    """What starts and stops when a unit does. `start` says why it did not start, or nothing."""

    start: Callable[[Host], str | None]
    stop: Callable[[Host], None]


class Systemd:
    """The units of all hosts."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        """`services` are the ones that are rehearsed; the others are as their unit files say."""
        self._services = services

    def programs(self) -> dict[str, Program]:
        """systemctl and journalctl."""
        return {"systemctl": self.systemctl, "journalctl": journalctl}

    def systemctl(self, call: Call) -> int:
        """systemctl with the verbs scripts use."""
        options = parse("systemctl", call.arguments, _FLAGS, {"-p", "--property", "-t", "--type", "--state"})
        verb, *names = options.rest or ["list-units"]
        units = [name if "." in name else f"{name}.service" for name in names]
        if verb in ("is-active", "is-enabled", "is-failed", "status"):
            return self._tell(call, verb, units, quiet=bool({"-q", "--quiet"} & options.flags))
        if call.user != 0:
            raise Refusal("Failed to connect to system bus: Interactive authentication required.")
        if verb in ("daemon-reload", "daemon-reexec"):
            return 0
        if verb not in _VERBS:
            raise Refusal(f"Unknown command verb {verb}.")
        if not units:
            raise Refusal("Too few arguments.")
        for unit in units:
            self._require(call.host, verb, unit)
        try:
            return max([self._change(call, verb, unit, options.flags) for unit in units])
        finally:
            call.host.save()

    def _require(self, host: Host, verb: str, unit: str) -> None:
        """What a verb says of a unit there is none of."""
        loaded = unit in _BUILT_IN or bool(_file(host, unit))
        if loaded or verb == "reset-failed" or (verb == "stop" and unit in host.state.active):
            return
        if verb in ("enable", "disable"):
            raise Refusal(f"Failed to {verb} unit: Unit file {unit} does not exist.")
        raise Refusal(f"Failed to {verb} {unit}: Unit {unit} {'not loaded' if verb == 'stop' else 'not found'}.", _NOT_LOADED)

    def _change(self, call: Call, verb: str, unit: str, flags: Collection[str]) -> int:
        host, block = call.host, "--no-block" not in flags
        match verb:
            case "start" | "restart":
                return self._up(call, unit, again=verb == "restart", block=block)
            case "stop":
                self.stop(host, unit)
            case "enable":
                _enable(host, unit)
                return self._up(call, unit, again=False, block=block) if "--now" in flags else 0
            case "disable":
                host.tree.remove(f"{_WANTS}/{unit}")
                if "--now" in flags:
                    self.stop(host, unit)
            case _:
                host.state.failed = [name for name in host.state.failed if name != unit]
        return 0

    def start_enabled(self, host: Host) -> None:
        """What systemd does at the end of a boot: units that say they come before k3s come first."""
        units = [path.rpartition("/")[2] for path in host.tree.glob(f"{_WANTS}/*.service")]
        for unit in sorted(units, key=lambda unit: unit.startswith("k3s")):
            self.start(host, unit)
        host.save()

    def start(self, host: Host, unit: str) -> str | None:
        """Starts a unit; why it failed, if it did."""
        if unit in host.state.active:
            return None
        text = _file(host, unit)
        service = self._services.get(unit)
        failure = service.start(host) if service is not None else _run_commands(host, unit, text)
        host.state.failed = [name for name in host.state.failed if name != unit]
        if failure is not None:
            host.state.failed.append(unit)
        elif service is not None or "Type=oneshot" not in text or "RemainAfterExit=yes" in text:
            host.state.active = [*(name for name in host.state.active if name != unit), unit]
        return failure

    def stop(self, host: Host, unit: str) -> None:
        """Stops a unit, and no longer tries to start it."""
        service = self._services.get(unit)
        if service is not None:
            service.stop(host)
        host.state.active = [name for name in host.state.active if name != unit]

    def _up(self, call: Call, unit: str, *, again: bool, block: bool) -> int:
        if unit in _BUILT_IN:
            return 0
        if again:
            self.stop(call.host, unit)
        failure = self.start(call.host, unit)
        if failure is None or not block:
            return 0
        call.err(
            f"Job for {unit} failed because the control process exited with error code.\n"
            f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.'
        )
        return 1

    def _tell(self, call: Call, verb: str, units: list[str], *, quiet: bool) -> int:
        host, codes = call.host, []
        for unit in units:
            active = unit in host.state.active or unit in _BUILT_IN
            state = "active" if active else "failed" if unit in host.state.failed else "inactive"
            enabled = unit in _BUILT_IN or host.tree.resolve(f"{_WANTS}/{unit}", follow_last=False).is_symlink()
            match verb:
                case "is-enabled":
                    said, fine = "enabled" if enabled else "disabled" if _file(host, unit) else "not-found", enabled
                case "is-failed":
                    said, fine = state, state == "failed"
                case "status":
                    said, fine = f"{unit}\n     Active: {state}", active
                case _:
                    said, fine = state, active
            if not quiet:
                call.out(said)
            codes.append(0 if fine else 1 if verb in ("is-enabled", "is-failed") else _INACTIVE)
        return max(codes, default=0)


def _file(host: Host, unit: str) -> str:
    """The text of a unit's file; empty where there is none."""
    return next((text for folder in _FOLDERS if (text := host.tree.read_or(f"{folder}/{unit}"))), "")


def _enable(host: Host, unit: str) -> None:
    if "WantedBy=" not in _file(host, unit) and unit not in _BUILT_IN:
        raise Refusal(f"The unit files have no installation config: {unit}")
    if unit not in _BUILT_IN:
        host.tree.link(f"{_WANTS}/{unit}", f"/etc/systemd/system/{unit}")


def _run_commands(host: Host, unit: str, text: str) -> str | None:
    """Runs what a one-shot unit has to run, on the host; other units here have nothing that has to go on."""
    if "Type=oneshot" not in text:
        return None
    for line in re.findall(r"^ExecStart=-?(.+)$", text, re.MULTILINE):
        done = host.power.run(["/bin/sh", "-c", f"exec {line}"])
        host.journal(unit, *done.stdout.splitlines(), *done.stderr.splitlines())
        if done.returncode:
            return f"{line} ended with {done.returncode}"
    return None


def journalctl(call: Call) -> int:
    """journalctl(1) of units: -u, -n, --since @SECONDS, -o cat."""
    flags = {"--no-pager", "-q", "--quiet", "-x", "-e", "-b", "-r"}
    words = [part for word in call.arguments for part in (["-x", "-e", "-u"] if word == "-xeu" else [word])]
    options = parse("journalctl", words, flags, {"-u", "--unit", "-n", "--lines", "-o", "--output", "--since"})
    unit = options.values.get("-u") or options.values.get("--unit") or ""
    lines = call.host.read_journal(unit if "." in unit else f"{unit}.service")
    if since := re.fullmatch(r"@(\d+)", options.values.get("--since", "")):
        lines = [line for line in lines if int(line.partition(" ")[0]) >= int(since[1])]
    count = int(options.values.get("-n") or options.values.get("--lines") or len(lines))
    plain = (options.values.get("-o") or options.values.get("--output")) == "cat"
    for line in lines[-count:] if count else []:
        seconds, _, message = line.partition(" ")
        stamp = time.strftime("%b %d %H:%M:%S", time.gmtime(int(seconds)))
        call.out(message if plain else f"{stamp} {call.host.name} {unit}: {message}")
    return 0
