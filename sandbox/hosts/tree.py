"""A host's directory tree, as the lab reads and writes it: links lead nowhere outside."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_LINKS = 40
_NOT_COMPARED = ("/dev", "/usr/lib/stand-ins", "/run/sshd", "/var/log/journal", "/proc/modules", "/proc/driver", "/sys/module")
"""Beside what is no trace of a script: modules, which stay loaded until the next boot whoever removes their package."""


class Tree:
    """Files by the path they have on the host."""

    def __init__(self, root: Path) -> None:
        """Touches nothing."""
        self.root = root

    def resolve(self, path: str, *, follow_last: bool = True) -> Path:
        """Where a path of the host is here; every link on the way is followed as the host would. OSError for a loop."""
        done, left, links = PurePosixPath("/"), list(PurePosixPath("/" + path).parts[1:]), 0
        while left:
            part = left.pop(0)
            if part == "..":
                done = done.parent
                continue
            here = self.root / done.relative_to("/") / part
            if here.is_symlink() and (left or follow_last):
                links += 1
                if links > _LINKS:
                    raise OSError(40, "Too many levels of symbolic links", path)
                target = PurePosixPath(here.readlink())
                if target.is_absolute():
                    done = PurePosixPath("/")
                left = [*(target.parts[1:] if target.is_absolute() else target.parts), *left]
                continue
            done /= part
        return self.root / done.relative_to("/")

    def exists(self, path: str) -> bool:
        """Whether there is something, where a link leads too."""
        return self.resolve(path).exists()

    def read(self, path: str) -> str:
        """A file's text; OSError where there is none."""
        return self.resolve(path).read_text(encoding="utf-8", errors="replace")

    def read_or(self, path: str, default: str = "") -> str:
        """A file's text, or `default` where there is none."""
        try:
            return self.read(path)
        except OSError:
            return default

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Puts a new file in the place of whatever is there, with its directories."""
        target = self.resolve(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.lab")
        draft.touch(mode=0o600)
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.chmod(mode)
        draft.replace(target)

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """A directory with its parents."""
        target = self.resolve(path)
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link, in the place of whatever file is there."""
        where = self.resolve(path, follow_last=False)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.unlink(missing_ok=True)
        where.symlink_to(target)

    def remove(self, path: str) -> None:
        """Deletes a file, a link or a directory with all in it; it may be gone already."""
        target = self.resolve(path, follow_last=False)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def glob(self, pattern: str) -> list[str]:
        """The paths a pattern without links in its directories matches, in order."""
        return sorted("/" + str(path.relative_to(self.root)) for path in self.root.glob(pattern.lstrip("/")))

    def empty(self, path: str) -> None:
        """Deletes what is in a directory."""
        for entry in self.resolve(path).iterdir():
            self.remove(f"{path}/{entry.name}")

    def contents(self) -> dict[str, str]:
        """What tells one state of the tree from another: path to kind, mode and content, without what is as in every tree."""
        return dict(self._walk(self.root))

    def _walk(self, directory: Path) -> Iterator[tuple[str, str]]:
        for entry in os.scandir(directory):
            path = "/" + str(Path(entry.path).relative_to(self.root))
            if path in _NOT_COMPARED:
                continue
            status = entry.stat(follow_symlinks=False)
            mode = f"{stat.S_IMODE(status.st_mode):o} {status.st_uid}"
            if entry.is_symlink():
                yield path, f"link {os.readlink(entry.path)}"  # noqa: PTH115 - of an entry
            elif entry.is_dir():
                yield path, f"directory {mode}"
                yield from self._walk(Path(entry.path))
            elif status.st_nlink == 1:
                yield path, f"file {mode} {hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()}"
