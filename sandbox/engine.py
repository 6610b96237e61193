"""The real Pulumi engine, run over a project on the rehearsal platform.

Everything the engine needs is prepared for one run: tools on PATH, a file backend, a generated passphrase, a workspace with
copies of the project's files, and what the stack stands on: a control plane or an AWS account. The program runs inline, so no
language host is needed; it is the same `__main__.py` that `pulumi up` runs.
"""

import contextlib
import os
import runpy
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pulumi import automation

from sandbox import recorded, recovery
from sandbox.errors import SandboxError
from sandbox.event_log import event_log
from sandbox.ground import STAND_INS, Ground, ground
from sandbox.operations import Operations
from sandbox.plugins import EMULATED, emulated, install
from sandbox.policies import ANALYZER, advice, policies
from sandbox.project import Stack
from sandbox.reports import sentences, warning
from sandbox.secrets import account, prepare
from sandbox.secrets.made_up import Inventor
from sandbox.secrets.sealing import SEALING_KEY, ensure_key
from sandbox.toolchain import REHEARSAL, ensure
from settings.secrets import StoreKind

Output = Callable[[str], Any]
_KEPT = "secrets.json"
"""In a workspace: what stands for the secrets of its stack file, encrypted or sealed."""


class Engine:
    """One stack of a project on its own ground. Use `Engine.open`; it holds the stack's lock."""

    def __init__(self, stack: Stack, below: Ground, environment: Mapping[str, str]) -> None:
        self.stack = stack
        self.ground = below
        self._environment = dict(environment)
        self._policies = policies(stack)
        self._packs = [str(ANALYZER)] if self._policies else []
        self._automation = self._select()

    @classmethod
    @contextlib.contextmanager
    def open(cls, stack: Stack) -> Iterator["Engine"]:
        """The engine of a stack, with its ground running. One at a time: a second one is told who works on the stack."""
        with exclusive(stack):
            binaries = ensure(REHEARSAL)
            install(binaries["pulumi"], stack.project.home / "plugins-tried", lambda line: print(line, file=sys.stderr))  # noqa: T201
            recovery.restore_checkpoint(stack.project.checkpoint(stack.name))
            below = ground(stack)
            below.start(binaries)
            environment = _environment(stack, binaries["pulumi"], below)
            if stack.secrets:
                account.seed(stack.secrets, _inventor(stack), environment)
            with _inside(stack.project.root, environment):
                yield cls(stack, below, environment)

    def preview(self, output: Output, log: Path | None = None) -> list[dict[str, Any]]:
        """What `up` would do; changes nothing. Returns every step that is not `same`: op, type, urn, and what it is for.

        All that the engine tells goes into the file `log`.
        """
        steps: list[dict[str, Any]] = []

        def listen(event: automation.EngineEvent) -> None:
            logged(event)
            heard(event)
            advised(event)
            # The engine prints a diff's warnings to its error output, which nobody sees.
            if (said := event.diagnostic_event) and said.severity == "warning":
                output(warning(said.message))
            if event.resource_pre_event and (step := event.resource_pre_event.metadata).op != "same":
                steps.append({"op": step.op.value, "type": step.type, "urn": step.urn, "keys": step.keys, "diffs": step.diffs})

        with sentences() as heard, advice(output) as advised, event_log(log) as logged:
            self._automation.preview(diff=True, on_output=output, on_event=listen, color=_color(), policy_packs=self._packs)
        return steps

    def up(self, output: Output, *, continue_on_error: bool = False) -> None:
        """Brings the stack up; what an interrupted run left behind is taken over first.

        With `continue_on_error` what does not depend on a failure is made all the same. Rules of the policy pack that forbid
        something are asked in a preview, so that nothing is made.
        """
        with sentences() as heard:
            self._recover(output)
            if self._policies and self._policies.ends_previews:
                self._automation.preview(on_event=heard, suppress_outputs=True, policy_packs=self._packs)
            self._automation.up(
                on_output=output,
                on_event=heard,
                color=_color(),
                suppress_outputs=True,
                continue_on_error=continue_on_error,
                policy_packs=self._packs,
            )

    def refresh(self, output: Output) -> None:
        """Reads what is really there into the state."""
        with sentences() as heard:
            self._recover(output)
            self._automation.refresh(on_output=output, on_event=heard, color=_color(), suppress_outputs=True)

    def refreshed(self) -> list[automation.EngineEvent]:
        """What the engine sees in a preview that reads everything again first; changes nothing."""
        seen: list[automation.EngineEvent] = []

        def listen(event: automation.EngineEvent) -> None:
            heard(event)
            seen.append(event)

        with sentences() as heard:
            self._automation.preview(refresh=True, on_event=listen, suppress_outputs=True)
        return seen

    def down(self, output: Output) -> None:
        """Deletes every object of the stack, and the stack.

        What refuses to be deleted is told first that it may be, as the runbook for a real stack has it. Raises SandboxError when
        something is left behind.
        """
        with sentences() as heard:
            self._recover(output)
            if any(resource.get("protect") for resource in self.export().get("resources") or []):
                output("the stack is protected: aws.protect is turned off and rolled out before anything is deleted")
                self._automation.set_config("llm-platform:aws.protect", automation.ConfigValue("false"), path=True)
                self._automation.up(on_output=output, on_event=heard, color=_color(), suppress_outputs=True)
            self._automation.destroy(on_output=output, on_event=heard, color=_color(), suppress_outputs=True, remove=True)
        if leaks := self.ground.leaks():
            raise SandboxError(
                f"the stack is down, but left behind: {', '.join(leaks)}; when you know why, forget all of it with "
                f"`python -m sandbox reset {self.stack.name}`"
            )

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets left out."""
        return recorded.outputs(self.export())

    def export(self) -> dict[str, Any]:
        """The stack's recorded deployment, secrets encrypted."""
        return recorded.deployment(self.stack.project.checkpoint(self.stack.name))

    def forget(self) -> None:
        """Stop the ground and delete what the stack keeps here. For a stack that is down."""
        erase(self.stack, self.ground)

    def _recover(self, output: Output) -> None:
        recovery.recover(self._automation, self.stack.project, self.ground.kubeconfigs(), output)

    def _select(self) -> automation.Stack:
        root = self.stack.project.root
        workspace, prepared = _workspace(self.stack, self.ground)

        def program() -> None:
            runpy.run_path(str(root / "__main__.py"), run_name="__main__")

        with sentences():
            selected = Operations(
                self.stack.name,
                automation.LocalWorkspace(work_dir=str(workspace), program=program, env_vars=self._environment),
            )
        kept = prepare.encrypt(prepared, workspace, self.stack.name, _copy(self.stack, workspace), os.environ)
        prepare.write_kept(workspace / _KEPT, kept)
        return selected


@contextlib.contextmanager
def exclusive(stack: Stack) -> Iterator[None]:
    """Nobody else works on the stack meanwhile. Raises SandboxError that names the process that does."""
    stack.project.home.mkdir(parents=True, exist_ok=True)
    owner = stack.project.home / f"{stack.name}.owner"
    lock = FileLock(stack.project.home / f"{stack.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = owner.read_text() if owner.exists() else "unknown"
        raise SandboxError(
            f"another rehearsal works on the stack {stack.name} (process {pid}); wait until it ends, or end it with `kill {pid}`"
        ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


def erase(stack: Stack, below: Ground) -> None:
    """Stop a stack's ground and delete its data, its workspace and its state."""
    below.reset()
    shutil.rmtree(stack.project.workspace(stack.name), ignore_errors=True)
    for kept in stack.project.state.glob(".pulumi/*/**/*"):
        if kept.name == stack.name or kept.name.startswith(f"{stack.name}."):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink(missing_ok=True)


def _environment(stack: Stack, pulumi: Path, below: Ground) -> dict[str, str]:
    state = stack.project.state
    state.mkdir(parents=True, exist_ok=True)
    path = [str(STAND_INS), str(pulumi.parent), os.environ.get("PATH", os.defpath)]
    return {
        **below.environment(),
        **({SEALING_KEY: str(_sealing_key(stack))} if _is_sealed(stack) else {}),
        "LLM_PLATFORM_PYTHON": sys.executable,
        "PATH": os.pathsep.join(path),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase(state)),
        # No plugin is fetched while a rehearsal runs: what it uses was decided and reported before.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "LLM_PLATFORM_AWAIT_SECONDS": str(stack.rehearsal.await_seconds),
        # An output turned into text by accident is an error here, not a warning.
        "PULUMI_ERROR_OUTPUT_STRING": "1",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def _passphrase(state: Path) -> Path:
    """File with the passphrase that encrypts the secrets of rehearsed stacks; made once."""
    file = state / "passphrase"
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:  # noqa: PTH123 - needs the mode
            handle.write(secrets.token_urlsafe(32))
    return file


def _inventor(stack: Stack) -> Inventor:
    """Makes up the values of the stack's secrets: others in every checkout."""
    return Inventor(_passphrase(stack.project.state).read_bytes())


def _is_sealed(stack: Stack) -> bool:
    return stack.secrets is not None and stack.secrets.store.kind is StoreKind.SEALED_SECRETS


def _sealing_key(stack: Stack) -> Path:
    """File of the key that sealed values are sealed for; made where the stack has some."""
    file = stack.project.state / "sealing.key"
    if _is_sealed(stack):
        ensure_key(file)
    return file


def _copy(stack: Stack, directory: Path) -> Path:
    """The stack file of a workspace."""
    copy: Path = directory / stack.project.manifest.get("stackConfigDir", ".") / stack.file.name
    return copy


def _workspace(stack: Stack, below: Ground) -> tuple[Path, prepare.Prepared]:
    """The directory the engine runs in, with its configuration but for values to encrypt.

    The engine writes a salt into its stack file, which must not reach the project's own.
    """
    directory = stack.project.workspace(stack.name)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = stack.project.manifest
    copy = _copy(stack, directory)
    copy.parent.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(stack.file.read_text())
    kept = prepare.read_kept(directory / _KEPT)
    given = below.settings(content["config"])
    prepared = prepare.prepare(given, stack.secrets, _inventor(stack), _sealing_key(stack), kept)
    content["config"] = prepared.config
    if copy.exists() and (salt := (yaml.safe_load(copy.read_text()) or {}).get("encryptionsalt")):
        content.setdefault("encryptionsalt", salt)
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    # Named in the project file, a stand-in serves exactly the providers that lack their official plugin.
    plugins = {"providers": [{"name": name, "path": str(EMULATED)} for name in emulated()]}
    (directory / "Pulumi.yaml").write_text(yaml.safe_dump(manifest | {"plugins": plugins}, sort_keys=False))
    return directory, prepared


@contextlib.contextmanager
def _inside(root: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """This process in the project's directory, with its modules importable and the run's environment set."""
    before = dict(os.environ)
    os.environ.update(environment)
    sys.path.insert(0, str(root))
    try:
        with contextlib.chdir(root):
            yield
    finally:
        sys.path.remove(str(root))
        os.environ.clear()
        os.environ.update(before)


def _color() -> str:
    return "always" if sys.stdout.isatty() else "never"
