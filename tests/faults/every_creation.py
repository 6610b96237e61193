"""`python -m tests.faults.every_creation`: the provider is killed right after each creation of the stack `dev`, one a run.

Every run gets one resource further; in the end the stack is up, and `down` leaves nothing: no creation was done twice.
"""

import sys
import tempfile
from pathlib import Path

from sandbox.aws.faults import Fault
from tests.conftest import ROOT
from tests.faults.test_aws import check_nothing_is_there_twice
from tests.rehearsal.project import RehearsedProject


def main() -> None:
    """Prints a line a run."""
    with tempfile.TemporaryDirectory() as directory:
        project = RehearsedProject.make(ROOT, Path(directory), "dev")
        project.succeed("start")
        account = project.account()
        deaths = 0
        while True:
            account.break_down(Fault(at=1, how="die-after"))
            code, _ = project.run("up")
            made = [call for call in account.calls() if call["urn"]]
            sys.stdout.write(f"run {deaths + 1}: {'up' if code == 0 else 'killed'} after {made[-1]['operation']}\n")
            sys.stdout.flush()
            if code == 0:
                break
            deaths += 1
        account.break_down(None)
        check_nothing_is_there_twice(project)
        sys.stdout.write(f"{deaths} deaths, nothing made twice, nothing left behind\n")


if __name__ == "__main__":
    main()
