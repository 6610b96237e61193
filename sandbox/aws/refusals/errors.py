"""How a rule refuses."""

from collections.abc import Callable
from typing import Any, TypeAlias

from sandbox.aws.backends import Backends

Parameters: TypeAlias = dict[str, Any]
Rule: TypeAlias = Callable[[Backends, Parameters], None]


class RefusalError(Exception):
    """An error of AWS."""

    def __init__(self, code: str, message: str) -> None:
        """Both as the service writes them."""
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message
