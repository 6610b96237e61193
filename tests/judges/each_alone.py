"""Run by checkov's own interpreter: judges each file alone, and writes what it says of them as JSON.

Its command line puts all files into one graph, in which one stack's network policies hold for another's pods.
"""

import json
import sys
from importlib import import_module

MODULES = {"kubernetes": "checkov.kubernetes.runner", "terraform_plan": "checkov.terraform.plan_runner"}


def main(framework: str, files: list[str]) -> None:
    """Every file with a runner of its own, which keeps what it has seen."""
    runner = import_module(MODULES[framework]).Runner
    chosen = import_module("checkov.runner_filter").RunnerFilter(framework=[framework])
    reports = [runner().run(root_folder=None, files=[file], runner_filter=chosen) for file in files]
    told = [
        {
            "errors": report.parsing_errors,
            "passed": [(record.check_id, record.resource) for record in report.passed_checks],
            "failed": [(record.check_id, record.resource) for record in report.failed_checks],
        }
        for report in reports
    ]
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
