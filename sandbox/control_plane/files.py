"""Files only their owner may read, written whole or not at all."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from sandbox.errors import SandboxError

_LOCK_WAIT_S = 120.0


def private_directory(path: Path) -> Path:
    """Makes `path` (parents too) with mode 0700, and returns it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)  # mkdir's mode is cut by the umask and ignored for a directory that exists
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Replaces `path` in one step, mode 0600: a reader, or a crash half-way, sees the old file or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


@contextmanager
def explained_disk_errors(directory: Path) -> Iterator[None]:
    """Turns what the file system refuses under `directory` into one sentence.

    Raises SandboxError in place of the OSErrors a user can do something about.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SandboxError(f"no space left on device under {directory}; free some and run the command again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise SandboxError(f"cannot write under {directory}: {error.strerror}; make it writable for this user") from error
        raise


@contextmanager
def exclusive(directory: Path, owner: str) -> Iterator[None]:
    """Makes a private `directory` and lets one command at a time work on it.

    The lock lies beside the directory, so that who holds it may delete that. Raises SandboxError, which calls what lies there
    `owner`, when another command does not end in time.
    """
    with explained_disk_errors(directory):
        lock = filelock.FileLock(private_directory(directory.parent) / f"{directory.name}.lock", mode=0o600)
        private_directory(directory)
        try:
            with lock.acquire(timeout=_LOCK_WAIT_S):
                yield
        except filelock.Timeout as error:
            raise SandboxError(
                f"another command has worked on {owner} for {_LOCK_WAIT_S:.0f} s; "
                f"try again when it is done (it holds {lock.lock_file})"
            ) from error
