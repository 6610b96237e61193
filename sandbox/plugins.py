"""Which provider plugins the engine uses: official ones where they are installed, else the emulations of this package."""

import os
import shutil
from pathlib import Path

EMULATED = Path(__file__).parent / "providers" / "bin"


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
