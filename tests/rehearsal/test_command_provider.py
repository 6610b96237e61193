"""The emulated command provider, through the real engine, against a real SSH server that runs real shells."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pulumi
import pytest
from pulumi_command import local, remote

from tests.rehearsal.kubernetes_support import Program, Run, StackUnderTest
from tests.ssh_server import SshServer, public, ssh_server
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

JOINED = "echo joined >> journal; cat >> journal; echo done"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    (tmp_path / "host").mkdir()
    with ssh_server(tmp_path / "host") as running:
        yield running


@pytest.fixture
def stack(tmp_path: Path, pulumi_bin: Path) -> Iterator[StackUnderTest]:
    made = StackUnderTest(tmp_path, pulumi_bin)
    yield made
    made.assert_no_error_escaped()


def connection(server: SshServer, **other: Any) -> dict[str, Any]:
    """How to reach a server; a failure is final, so that no test waits for the retries."""
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "private_key": server.private_key,
        "host_key": server.host_key,
        "dial_error_limit": 0,
        **other,
    }


def command(server: SshServer, opts: pulumi.ResourceOptions | None = None, **inputs: Any) -> Program:
    """A program with one command."""

    def program() -> None:
        made = remote.Command("join", **{"connection": connection(server), "create": JOINED, **inputs}, opts=opts)
        pulumi.export("stdout", made.stdout)

    return program


def journal(server: SshServer) -> list[str]:
    file = server.folder / "journal"
    return file.read_text().splitlines() if file.exists() else []


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def refused(run: Run) -> str:
    """The one error of a run that must fail without a traceback."""
    assert not run.succeeded, run.output
    assert "Traceback" not in run.output
    return "\n".join(run.errors)


def test_the_life_of_a_command(stack: StackUnderTest, server: SshServer) -> None:
    leave: dict[str, Any] = {"delete": 'echo "left after $PULUMI_COMMAND_STDOUT" >> journal; cat >> journal'}
    preview = done(stack.preview(command(server, stdin="one\n", **leave)))
    assert (preview.operations["join"], journal(server)) == (["create"], [])

    done(stack.up(command(server, stdin="one\n", **leave)))
    assert journal(server) == ["joined", "one"]
    recorded = stack.state()["join"]
    assert recorded["outputs"]["stdout"] == "done"
    assert recorded["id"].startswith("join")
    again = done(stack.up(command(server, stdin="one\n", **leave)))
    assert again.operations["join"] == ["same"], again.changed
    assert done(stack.refresh(command(server))).outcomes["join"] in ("refresh", "same")

    # Without an `update` of its own a change runs `create` again.
    assert done(stack.up(command(server, stdin="two\n", **leave))).operations["join"] == ["update"]
    assert journal(server) == ["joined", "one", "joined", "two"]
    (server.folder / "journal").unlink()
    update: dict[str, Any] = {"update": 'echo "changed after $PULUMI_COMMAND_STDOUT" >> journal; printf "%s\\n\\n" new'}
    assert done(stack.up(command(server, stdin="two\n", **leave, **update))).operations["join"] == ["update"]
    assert journal(server) == ["changed after done"]
    assert stack.state()["join"]["outputs"]["stdout"] == "new\n", "one newline is cut off"

    (server.folder / "journal").unlink()
    run = done(stack.up(command(server, stdin="two\n", triggers=["another"], **leave, **update)))
    assert run.operations["join"] == ["create-replacement", "replace", "delete-replaced"]
    assert journal(server) == ["joined", "two", "left after new", "", "two"]

    (server.folder / "journal").unlink()
    done(stack.destroy())
    assert journal(server) == ["left after done", "two"]


def test_a_command_that_fails_is_run_again_until_it_succeeds(stack: StackUnderTest, server: SshServer) -> None:
    failing = "echo looking; echo 'no driver: install nvidia-driver-580' >&2; test -e driver || exit 3"
    said = refused(stack.up(command(server, create=failing)))
    assert f"the create command ended with status 3 on 127.0.0.1:{server.port}: looking\nno driver: install" in said
    assert "join" not in stack.state(), "what was not made is not recorded"

    (server.folder / "driver").touch()
    assert done(stack.up(command(server, create=failing))).operations["join"] == ["create"]
    (server.folder / "driver").unlink()
    changed: dict[str, Any] = {"create": failing, "environment": {"PULUMI_COMMAND_STDOUT": "x"}, "logging": "stderr"}
    said = refused(stack.up(command(server, **changed)))
    assert "the create command ended with status 3" in said
    assert "looking" not in said, "what is not to be logged is not in an error either"
    (server.folder / "driver").touch()
    assert done(stack.up(command(server, **changed))).operations["join"] == ["update"]
    killed = refused(stack.up(command(server, create="kill -9 $$")))
    assert "ended with the signal KILL on 127.0.0.1" in killed


def test_a_delete_that_fails_keeps_the_command_in_the_state(stack: StackUnderTest, server: SshServer) -> None:
    leave = "test -e drained || { echo 'node is not drained' >&2; exit 1; }"
    done(stack.up(command(server, delete=leave)))
    assert "the delete command ended with status 1" in refused(stack.destroy())
    (server.folder / "drained").touch()
    done(stack.destroy())
    assert "join" not in stack.state()


def test_each_way_not_to_connect_has_a_sentence(stack: StackUnderTest, server: SshServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = free.getsockname()[1]
    other = asyncssh.generate_private_key("ssh-ed25519")
    rsa, ecdsa = (asyncssh.generate_private_key(kind) for kind in ("ssh-rsa", "ecdsa-sha2-nistp256"))
    at = f"127.0.0.1:{server.port}"
    expected: list[tuple[dict[str, Any], str]] = [
        ({"port": unused}, f"127.0.0.1:{unused} refuses connections: start its SSH server"),
        ({"host": "no.such.host.invalid"}, "has no address: the name is not known here"),
        ({"host_key": public(other)}, f"{at} shows another host key ({server.own_key.get_fingerprint()}) than its hostKey says"),
        ({"host_key": public(ecdsa)}, "of the type of its hostKey, ecdsa-sha2-nistp256"),
        ({"host_key": public(rsa)}, "of the type of its hostKey, ssh-rsa"),
        ({"host_key": "AAAA"}, f"the hostKey of {at} cannot be read"),
        ({"private_key": other.export_private_key().decode()}, f"{at} does not accept the private key for the user ops"),
        ({"private_key": "~/.ssh/id_ed25519"}, f"the private key for {at} cannot be read"),
        ({"private_key": other.export_private_key("pkcs8-pem", "abcdefgh").decode()}, f"the private key for {at} is encrypted"),
        ({"private_key": None, "password": "wrong-password"}, f"{at} does not accept the password for the user ops"),
        ({"private_key": None}, f"the connection to {at} says not how to log in"),
        ({"private_key": None, "agent_socket_path": "/nowhere/agent"}, "no SSH agent answers at /nowhere/agent ("),
    ]

    def program() -> None:
        for number, (changes, _) in enumerate(expected):
            remote.Command(f"c{number}", connection=remote.ConnectionArgs(**connection(server, **changes)), create="true")

    said = refused(stack.up(program, continue_on_error=True))
    assert [sentence for _, sentence in expected if sentence not in said] == [], said
    assert "wrong-password" not in said


def test_a_host_that_comes_up_late_is_waited_for(stack: StackUnderTest, server: SshServer) -> None:
    """Attempts are repeated until the limit; here the forwarder in front of the server starts after the run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        late = free.getsockname()[1]
    run: list[Run] = []
    program = command(server, connection=connection(server, port=late, dial_error_limit=-1))
    thread = threading.Thread(target=lambda: run.append(stack.up(program)))
    thread.start()
    eventually(lambda: bool(engines()))
    time.sleep(2)
    with forwarding(late, server.port):
        thread.join(60)
    assert done(run[0]).operations["join"] == ["create"]
    assert journal(server) == ["joined"]


def test_a_proxy_leads_to_a_host(stack: StackUnderTest, server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "bastion").mkdir()
    with ssh_server(tmp_path / "bastion") as bastion:
        proxy = connection(bastion, password=bastion.password, private_key=None)
        done(stack.up(command(server, connection=connection(server, proxy=proxy))))
        assert (journal(server), bastion.forwarded) == (["joined"], [server.port])
        recorded = stack.state_file()
        assert bastion.password not in recorded
        proxy["host_key"] = server.host_key
        said = refused(stack.up(command(server, connection=connection(server, proxy=proxy))))
        assert f"127.0.0.1:{bastion.port} shows another host key" in said


def test_a_key_may_stay_with_the_agent(stack: StackUnderTest, server: SshServer, tmp_path: Path) -> None:
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        eventually(sock.exists)
        environment = os.environ | {"SSH_AUTH_SOCK": str(sock)}
        subprocess.run(["ssh-add", "-q", "-"], input=server.private_key, text=True, env=environment, check=True)
        with_agent = connection(server, private_key=None, agent_socket_path=str(sock))
        done(stack.up(command(server, connection=with_agent)))
    finally:
        agent.terminate()
        agent.wait()
    assert journal(server) == ["joined"]


def test_secrets_reach_the_command_and_nobody_else(stack: StackUnderTest, server: SshServer) -> None:
    token, password = "K10canary::server:hush", "pa55word-canary"
    stdin = f"TOKEN={token}\nregistry:\n  password: {password}\n"
    opts = pulumi.ResourceOptions(additional_secret_outputs=["stdout"])
    reading = "cat > got; cat got; echo said >&2; test ! -e broken"

    def program(create: str) -> Program:
        def run() -> None:  # an Output belongs to the run of its program
            command(server, opts=opts, create=create, stdin=pulumi.Output.secret(stdin))()

        return run

    run = done(stack.up(program(reading)))
    assert token in (server.folder / "got").read_text()
    (server.folder / "broken").touch()
    failed = stack.up(program(f"{reading} # again"))
    assert "said" in refused(failed)
    assert "said" in run.infos
    assert any("password: [secret]" in line for line in run.infos), "the command prints what it reads"
    told = (
        "\n".join([run.output, failed.output, *failed.errors, *run.infos, *failed.infos])
        + stack.state_file()
        + stack.log.read_text()
    )
    for secret in (token, password, server.private_key.splitlines()[1], "hush"):
        assert secret not in told
    assert stack.state()["join"]["outputs"]["connection"].keys() >= {"4dabf18193072939515e22adb298388d"}, "all of it is secret"


def test_a_variable_that_the_server_does_not_take_stops_the_command(stack: StackUnderTest, server: SshServer) -> None:
    said = refused(stack.up(command(server, environment={"GENERATION": "1"})))
    assert "does not take the environment variable GENERATION: name it in AcceptEnv" in said
    assert journal(server) == []
    server.accepts_env = ("GENERATION",)
    done(stack.up(command(server, create="echo $GENERATION >> journal; echo out", environment={"GENERATION": "1"})))
    again = done(stack.up(command(server, create="echo $GENERATION >> journal; echo out", environment={"GENERATION": "2"})))
    assert journal(server) == ["1", "2"]
    assert any("PULUMI_COMMAND_STDOUT" in warning for warning in again.warnings)
    quiet: dict[str, Any] = {"create": "echo 3 >> journal", "add_previous_output_in_env": False}
    assert done(stack.up(command(server, **quiet))).warnings == []


def test_what_no_command_has_is_refused_before_anything_runs(stack: StackUnderTest) -> None:
    class Loose(pulumi.CustomResource):
        def __init__(self, name: str, **inputs: Any) -> None:
            super().__init__("command:remote:Command", name, inputs)

    for inputs, sentence in (
        (
            {"connection": {"host": "h", "privatKey": "x"}},
            "connection.privatKey: is not a property pulumi-command has here; did you",
        ),
        ({"connection": {"host": "h"}, "create": ["true"]}, "create: has to be text"),
        ({"connection": {"host": "h"}, "logging": "all"}, "logging: has to be one of stdout, stderr, stdoutAndStderr, none"),
        ({"create": "true"}, "connection: is required and missing"),
    ):

        def program(inputs: dict[str, Any] = inputs) -> None:
            Loose("loose", **inputs)

        assert sentence in refused(stack.preview(program))

    def other() -> None:
        local.Command("local", create="true")

    said = refused(stack.preview(other))
    assert "command:local:Command is not emulated: use command:remote:Command" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_ends_the_command(stack: StackUnderTest, server: SshServer, number: signal.Signals) -> None:
    slow = "echo $$ > pid; test -e quick || { exec sleep 600; }"
    run: list[Run] = []
    thread = threading.Thread(target=lambda: run.append(stack.up(command(server, create=slow))))
    thread.start()
    pid = server.folder / "pid"
    eventually(lambda: pid.exists() and pid.read_text().strip() != "")
    sleeping = psutil.Process(int(pid.read_text()))
    for engine in engines():
        engine.send_signal(number)
    thread.join(30)
    assert not run[0].succeeded
    eventually(lambda: has_ended(sleeping))
    if number == signal.SIGINT:
        assert f"the create command on 127.0.0.1:{server.port} was ended: the run was interrupted" in "\n".join(run[0].errors)
    for lock in (stack.folder / "state").rglob("locks/**/*.json"):
        lock.unlink()
    (server.folder / "quick").touch()
    assert done(stack.up(command(server, create=slow))).operations["join"] == ["create"]


def test_a_command_has_the_time_of_its_resource(stack: StackUnderTest, server: SshServer) -> None:
    opts = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="2s"))
    said = refused(stack.up(command(server, opts=opts, create="echo $$ > pid; exec sleep 600")))
    assert "was ended: it took more than 2 s" in said
    assert not os.path.exists(f"/proc/{(server.folder / 'pid').read_text().strip()}")  # noqa: PTH110


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def engines() -> list[psutil.Process]:
    """The engines this process runs at the moment."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if child.name() == "pulumi" else []
    return found


@contextlib.contextmanager
def forwarding(port: int, to: int) -> Iterator[None]:
    """Connections to a port go to another, until the end of the block."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", to))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield
    listener.close()
