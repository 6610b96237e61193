"""Operations of the Automation API that end when they are done.

After each the SDK asks the engine for outputs and the history of updates, which starts it three times more and takes as long as
an operation that changes nothing. Nobody here reads them there: outputs are in the recorded state.
"""

from datetime import UTC, datetime

from pulumi import automation
from pulumi.automation._stack import StackInitMode  # the SDK's own constructors make its own class

_UNREAD = automation.UpdateSummary(
    kind="update", start_time=datetime.fromtimestamp(0, UTC), message="", environment={}, config={}, result="not-started"
)


class Operations(automation.Stack):
    """A stack whose operations answer with nothing but what they said."""

    def __init__(self, name: str, workspace: automation.Workspace) -> None:
        """Selects the stack, and makes it where there is none yet."""
        super().__init__(name, workspace, StackInitMode.CREATE_OR_SELECT)

    def outputs(self) -> automation.OutputMap:
        """Nothing: see `sandbox.recorded`."""
        return {}

    def info(self, show_secrets: bool = False) -> automation.UpdateSummary:  # noqa: ARG002 - as the SDK asks
        """A summary of nothing."""
        return _UNREAD
