"""What an instance remembers between commands: its ports and its processes, in one JSON file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.control_plane.files import write_private
from sandbox.errors import SandboxError


class ProcessRecord(BaseModel):
    """A process this program started.

    `started` (seconds, see processes.py) and `argv` tell it from a later process with the same pid; `argv` also tells
    whether it runs what would be started today.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float
    argv: tuple[str, ...]


class Record(BaseModel):
    """The ports and processes of one instance, by name."""

    model_config = ConfigDict(extra="forbid")

    ports: dict[str, int] = {}
    processes: dict[str, ProcessRecord] = {}

    @classmethod
    def load(cls, path: Path) -> "Record":
        """The record in `path`, empty if there is none.

        Raises SandboxError for a file this program did not write: guessing could leave processes running for ever.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            raise SandboxError(
                f"{path} is damaged ({error.errors()[0]['msg']}), so the processes it named are unknown; "
                f"end those that still run with files under {path.parent}, delete that directory, and run the command again"
            ) from error

    def save(self, path: Path) -> None:
        """Replaces `path` in one step."""
        write_private(path, self.model_dump_json(indent=2) + "\n")
