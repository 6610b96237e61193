"""The rules, one module a concern; what a module calls RULES is found here."""

import importlib
import pkgutil

from policy_pack.rule import Rule


def _found() -> tuple[Rule, ...]:
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(rule for name in modules for rule in importlib.import_module(f"{__name__}.{name}").RULES)


RULES: tuple[Rule, ...] = _found()
