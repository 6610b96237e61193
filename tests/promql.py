"""What Prometheus' own language and tools say of rules and queries, for tests."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import promql_parser
import yaml

from components.monitoring.rules import RuleGroup, rule_files
from sandbox.toolchain import ensure


def metric_names(expr: str) -> set[str]:
    """The names of all series that an expression reads, those asked for by __name__ included."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            named = [matcher.value for matcher in node.matchers.matchers if matcher.name == "__name__"]
            found.update([node.name] if node.name else named)
        return True

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def write_rules(groups: Iterable[RuleGroup], directory: Path) -> list[Path]:
    """The rule files of some groups, one for each family."""
    found = []
    for family, entries in rule_files(groups).items():
        found.append(directory / f"{family}.yaml")
        found[-1].write_text(yaml.safe_dump({"groups": entries}, sort_keys=False))
    return found


def promtool(*arguments: str | Path) -> str:
    """What promtool says; AssertionError with all of it where it finds a fault."""
    done = subprocess.run([ensure(["promtool"])["promtool"], *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
