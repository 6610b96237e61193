"""What AWS refuses and moto would do, with AWS's own error codes and words."""

from moto.core.exceptions import ServiceException

from sandbox.aws.backends import Backends
from sandbox.aws.calls import Call
from sandbox.aws.refusals import identity, logs, network, shapes, storage
from sandbox.aws.refusals.errors import RefusalError, Rule

__all__ = ["RefusalError", "check"]

RULES: dict[tuple[str, str], tuple[Rule, ...]] = {**network.RULES, **identity.RULES, **storage.RULES, **logs.RULES}


def check(call: Call) -> None:
    """Raises RefusalError when AWS would refuse the call in the account as it is now."""
    shapes.check(call)
    try:
        for rule in RULES.get((call.service, call.operation), ()):
            rule(Backends(call.region), call.parameters)
    except ServiceException as error:  # of moto's lookups: what the call names is not there
        raise RefusalError(error.code, error.message) from error
