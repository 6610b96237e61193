"""`python -m tests.releases VERSION`: record what this release deploys, by bringing its stacks up on the rehearsal platform."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject
from tests.releases.names import urns
from tests.releases.recorded import PASSPHRASE, STACKS, Recorded, urns_file


def main() -> None:
    """Prints a line a recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="as in CHANGELOG.md, e.g. 0.2.0")
    version = parser.parse_args().version
    if urns_file(version).parent.exists():
        parser.error(
            f"{urns_file(version).parent} exists; what was recorded of a release stays, so delete it only before its tag"
        )
    for stack in STACKS:
        with tempfile.TemporaryDirectory() as directory:
            project = RehearsedProject.make(ROOT, Path(directory), stack)
            try:
                _record(project, Recorded(version, stack))
            finally:
                project.run("reset")
        sys.stdout.write(f"{stack}: recorded\n")
    urns_file(version).write_text("".join(f"{urn}\n" for urn in sorted(urns())))


def _record(project: RehearsedProject, recorded: Recorded) -> None:
    state = project.root / ".sandbox" / "state"
    state.mkdir(parents=True)
    (state / "passphrase").touch(mode=0o600)
    (state / "passphrase").write_text(PASSPHRASE)
    project.succeed("up")
    checkpoint = json.loads((state / f".pulumi/stacks/llm-platform/{project.stack}.json").read_text())
    recorded.write(
        {"version": checkpoint["version"], "deployment": checkpoint["checkpoint"]["latest"]}, project.stack_file.read_text()
    )


if __name__ == "__main__":
    main()
