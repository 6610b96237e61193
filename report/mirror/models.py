"""Models in a directory, by the program that stacks fetch them with: the same files, the same checks, the same marks."""

import contextlib
from pathlib import Path

from components.storage.download_job import PATTERNS
from components.storage.layout import repository_directory
from components.storage.scripts import download
from report.mirror.needs import Model


class Models:
    """A directory of models, as a stack with `mirror.files` reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, model: Model) -> bool:
        """Whether it is there, whole."""
        place, where = download.Folder(str(self._folder)), repository_directory(model.source, model.revision)
        if not download.is_complete(place, where):
            return False
        return model.checksum in (None, (place.read(f"{where}/{download.COMPLETE}") or "").strip())

    def fetch(self, model: Model) -> None:
        """Fetch it, and go on where a try before ended. ValueError for what no second try can mend."""
        place, where = download.Folder(str(self._folder)), repository_directory(model.source, model.revision)
        told = f"{model.source} at {model.revision}"
        wanted = {"source": model.source, "revision": model.revision}
        try:
            # What it says is the log of a Job.
            with contextlib.redirect_stdout(None):
                files = download.from_hub(wanted, place, where, [*PATTERNS], [])
            download.check_whole(place, where, files, told, model.adapter)
            text = download.listed(wanted, files)
            download.finish(place, where, text, download.checked(text, told, model.checksum))
        except download.HopelessError as error:
            raise ValueError(str(error)) from None
        except ImportError:
            raise ValueError("huggingface_hub is missing; `make setup` installs it") from None
        except _of_the_hub() as error:
            raise ValueError(f"{str(error) or type(error).__name__}; run it again where the hub can be reached") from None


def _of_the_hub() -> type[Exception]:
    """What the hub's client raises where the hub does not answer: by the library that it asks with."""
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - half a second that a list need not wait for

    found: type[Exception] = next(kind for kind in HfHubHTTPError.__bases__ if kind is not OSError)
    return found
