"""How long-running work shows itself: a live line on a terminal, plain lines (start, a sign of life, end) anywhere else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

HEARTBEAT = 20.0
"""Seconds between two signs of life where there is no terminal to redraw."""


class Task:
    """One piece of work in progress; `report` says what it is at, as often as it likes."""

    def __init__(self) -> None:
        self.detail = ""

    def report(self, detail: str) -> None:
        """Replaces what is shown beside the title."""
        self.detail = detail


@contextmanager
def task(console: Console, title: str) -> Iterator[Task]:
    """Shows `title`, the time so far and the task's last report until the block ends; then one line with the total time.

    A block that raises ends without that line: the error speaks for itself.
    """
    current = Task()
    started = time.monotonic()
    with _live(console, title, current) if console.is_terminal else _lines(console, title, current, started):
        yield current
    say(console, f"{title}: done in {_seconds(started)}")


def say(console: Console, text: str) -> None:
    """One line of plain text: never wrapped, and brackets in paths are not taken for markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _live(console: Console, title: str, current: Task) -> Iterator[None]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    detail = TextColumn("{task.fields[current].detail}", markup=False, style="dim")
    with Progress(*columns, detail, console=console, transient=True) as progress:
        progress.add_task(title, total=None, current=current)
        yield


@contextmanager
def _lines(console: Console, title: str, current: Task, started: float) -> Iterator[None]:
    ended = threading.Event()

    def sign_of_life() -> None:
        while not ended.wait(HEARTBEAT):
            say(console, f"{title}: {_seconds(started)}, {current.detail or 'still at it'}")

    say(console, f"{title} ...")
    thread = threading.Thread(target=sign_of_life, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _seconds(started: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
