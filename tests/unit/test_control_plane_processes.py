"""Processes known by pid and start time, and what an instance says about a record or a log it does not like."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from sandbox.control_plane import ControlPlane
from sandbox.control_plane.files import explained_disk_errors
from sandbox.control_plane.ports import choose, is_free
from sandbox.control_plane.processes import is_running, spawn, stop, why_it_died
from sandbox.control_plane.record import ProcessRecord, Record
from sandbox.errors import SandboxError

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)


def up(argv: tuple[str, ...], log: Path) -> ProcessRecord:
    process = spawn(argv, log, {})
    while "up" not in log.read_text():
        time.sleep(0.01)
    return process


def test_a_process_is_detached_without_the_secrets_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    process = up(SLEEP, tmp_path / "sleep.log")
    assert os.getsid(process.pid) == process.pid
    assert "PULUMI_CONFIG_PASSPHRASE" not in psutil.Process(process.pid).environ()
    stop([process], 5)
    assert not is_running(process)


def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = up(STUBBORN, tmp_path / "stubborn.log")
    stop([process], 0.2)
    assert not is_running(process)


@pytest.mark.parametrize("change", [{"started": 0.0}, {"argv": ("etcd",)}])
def test_a_pid_that_belongs_to_another_process_by_now_is_left_alone(tmp_path: Path, change: dict[str, object]) -> None:
    innocent = up(SLEEP, tmp_path / "innocent.log")
    plane = ControlPlane("stale", tmp_path)
    (tmp_path / "stale").mkdir()
    stale = innocent.model_copy(update=change)
    Record(ports={"kube-apiserver": 1}, processes={"etcd": stale}).save(tmp_path / "stale" / "instance.json")

    assert plane.status().state == "stopped"
    plane.stop()
    plane.reset()
    assert is_running(innocent)
    stop([innocent], 5)


def test_a_damaged_record_is_refused_with_what_to_do(tmp_path: Path) -> None:
    record = tmp_path / "broken" / "instance.json"
    record.parent.mkdir()
    for content in ("{", '{"processes": {"etcd": 12}}', ""):
        record.write_text(content)
        for command in (ControlPlane("broken", tmp_path).status, ControlPlane("broken", tmp_path).reset):
            with pytest.raises(SandboxError, match=r"instance\.json is damaged .* delete that directory"):
                command()
        assert record.read_text() == content


def test_an_instance_name_stays_inside_its_directory(tmp_path: Path) -> None:
    for name in ("", "../up", "a/b", "UPPER", "x" * 41):
        with pytest.raises(SandboxError, match=r"is no instance name; use .* e\.g\. local"):
            ControlPlane(name, tmp_path)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            '{"level":"fatal","msg":"discovery failed","error":"listen tcp 127.0.0.1:2379: bind: address already in use"}',
            "address already in use (discovery failed: listen tcp 127.0.0.1:2379: bind: address already in use); "
            "run the command again, other ports will be chosen",
        ),
        (
            "panic: write wal: no space left on device\n\ngoroutine 1 [running]:\nmain.main()\n",
            "no space left on device (panic: write wal: no space left on device); free some space and run the command again",
        ),
        (
            "I1121 10:00:00.000000       7 options.go:1] starting\n"
            'E1121 10:00:00.100000       7 run.go:72] "command failed" err="open x.crt: no such file"\n'
            "I1121 10:00:00.200000       7 run.go:80] bye\n",
            '"command failed" err="open x.crt: no such file"',
        ),
        ("", "it wrote nothing"),
    ],
)
def test_the_reason_of_a_death_is_found_in_its_log(tmp_path: Path, lines: str, reason: str) -> None:
    log = tmp_path / "component.log"
    log.write_text(lines)
    assert why_it_died(log) == reason


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "etcd"
    plain.write_text("not a program")
    for program in (plain, tmp_path / "absent"):
        with pytest.raises(SandboxError, match=f"cannot run {program}: .*python -m sandbox doctor"):
            spawn([str(program)], tmp_path / "log.log", {})


def test_disk_errors_are_sentences_and_other_errors_are_not_hidden(tmp_path: Path) -> None:
    with (
        pytest.raises(SandboxError, match=f"no space left on device under {tmp_path}; free some"),
        explained_disk_errors(tmp_path),
    ):
        Path("/dev/full").write_text("x")
    with pytest.raises(FileNotFoundError), explained_disk_errors(tmp_path):
        (tmp_path / "absent").read_text()


def test_ports_are_different_and_free() -> None:
    ports = choose(("a", "b", "c"))
    assert len(set(ports.values())) == 3
    assert all(map(is_free, ports.values()))
