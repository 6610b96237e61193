"""Which provider plugins the engine uses: official ones where they are installed or can be, else this package's emulations."""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import httpx

from sandbox.toolchain.download import unreachable

EMULATED = Path(__file__).parent / "providers" / "bin"

_SOURCES = ("https://api.github.com", "https://github.com")
"""Where the engine fetches the plugins of Pulumi's own providers from."""
_INSTALL_SECONDS = 300


def official(provider: str) -> Path | None:
    """Where the official plugin of a provider is, on PATH or installed by Pulumi; None when it is not."""
    name = f"pulumi-resource-{provider}"
    if found := shutil.which(name):
        return Path(found)
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    return next(iter(sorted(home.glob(f"plugins/resource-{provider}-v*/{name}"), reverse=True)), None)


def emulated() -> list[str]:
    """Names of the providers that this package has to stand in for, since their official plugin is not installed."""
    stand_ins = (file.name.removeprefix("pulumi-resource-") for file in EMULATED.glob("pulumi-resource-*"))
    return sorted(name for name in stand_ins if official(name) is None)


def install(pulumi: Path, tried: Path, output: Callable[[str], object]) -> None:
    """Have the engine install the official plugins that are missing, in the versions of their SDKs, where the internet answers.

    Tried once: the file `tried` remembers that. What cannot be had is emulated, so nothing here is an error.
    """
    missing = emulated()
    if not missing or tried.exists():
        return
    tried.touch()
    if unreachable(httpx.URL(url) for url in _SOURCES):
        return
    for name in missing:
        wanted = version(f"pulumi-{name}")
        output(f"installing the official {name} plugin {wanted}")
        command = [str(pulumi), "plugin", "install", "resource", name, wanted]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
            reason = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        except subprocess.TimeoutExpired:
            reason = f"it took more than {_INSTALL_SECONDS} s"
        if reason:
            output(f"the official {name} plugin could not be installed ({reason}); its emulation is used")
