"""Fetch pinned repositories into a directory or a bucket, and leave a list of what must be there.

Runs in the engine's image: `python3 download.py WISHES`, with huggingface_hub and, for buckets, boto3. WISHES is a JSON file:

    {"to": "/models" or "s3://bucket/prefix", "from": null, "s3://bucket/prefix" or "https://host/path", "include": [...],
     "exclude": [...],
     "repositories": [{"source": "owner/name", "revision": "<commit>", "checksum": null or "<64 digits>", "adapter": null or
                       {"name": "...", "rank": 16, "bases": ["..."]}}]}

Each repository gets the directory OWNER--NAME/REVISION below `to`. A directory is complete when it has llm-platform-complete, the
checksum of llm-platform-manifest.json, which has size and SHA-256 of each file; a complete one is not fetched again. With a
checksum of its own a repository has to be exactly that, whatever the hub or a bucket says. Exit status: 0 all there, 64 what no
second try can mend (said in one sentence), anything else worth another try.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

Files = dict[str, dict[str, Any]]
"""By name size and SHA-256."""

HOPELESS = 64
MANIFEST, COMPLETE = "llm-platform-manifest.json", "llm-platform-complete"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.py")
"""Run code when they are loaded; no list of wishes can ask for them."""
CHUNK = 8 * 2**20
PARTIAL, NOT_FOUND = 206, 404


class HopelessError(Exception):
    """What no second try can mend, in one sentence."""


def main(wishes_file: str) -> None:
    wishes = json.loads(Path(wishes_file).read_text())
    target = bucket_of(wishes["to"]) or Folder(wishes["to"])
    mirror = source_of(wishes["from"]) if wishes.get("from") else None
    for repository in wishes["repositories"]:
        where = f"{repository['source'].replace('/', '--')}/{repository['revision']}"
        told = f"{repository['source']} at {repository['revision']}"
        if is_complete(target, where):
            text = target.read(f"{where}/{MANIFEST}") or ""
            say(f"{told} is complete in {target.name}/{where}, checksum {checked(text, told, repository.get('checksum'))}")
        else:
            say(f"fetching {told} to {target.name}/{where}")
            if mirror is not None:
                files = from_mirror(mirror, target, where, told)
            else:
                files = from_hub(repository, target, where, wishes["include"], wishes["exclude"])
            check_whole(target, where, files, told, repository.get("adapter") is not None)
            text = listed(repository, files)
            checksum = checked(text, told, repository.get("checksum"))
            finish(target, where, text, checksum)
            say(f"fetched {told}, checksum {checksum}")
        if repository.get("adapter"):
            check_adapter(target, where, told, repository["adapter"])
    for vocabulary in wishes.get("vocabularies", []):
        fetch_vocabulary(target, vocabulary)
    say("everything is there")


def fetch_vocabulary(target: "Place", vocabulary: Mapping[str, str]) -> None:
    """What an engine would fetch from the internet when it first answers."""
    name, wanted = f"vocabularies/{vocabulary['name']}", vocabulary["sha256"]
    there = target.read(name)
    if there is not None and hashlib.sha256(there.encode()).hexdigest() == wanted:
        return
    say(f"fetching {vocabulary['url']}")
    with urllib.request.urlopen(vocabulary["url"], timeout=60) as answer:  # noqa: S310 - the plan's own address
        content = answer.read()
    if (found := hashlib.sha256(content).hexdigest()) != wanted:
        raise OSError(f"{vocabulary['url']} has the checksum {found}, and {wanted} is expected")
    target.write(name, content.decode())


# Where files come from


def from_hub(repository: Mapping[str, Any], target: "Place", where: str, include: list[str], exclude: list[str]) -> Files:
    """Fetch what is wanted of a repository; by name the size and checksum of each file."""
    from huggingface_hub import HfApi

    source, revision = repository["source"], repository["revision"]
    with told_in_one_sentence(source, revision):
        info = HfApi().model_info(source, revision=revision, files_metadata=True)
        if info.sha != revision:
            raise HopelessError(f"{source} has {info.sha} where {revision} was asked for; use a revision of 40 digits")
        wanted = [file for file in info.siblings if is_wanted(file.rfilename, include, exclude)]
        if not any(file.rfilename.endswith(".safetensors") for file in wanted):
            raise HopelessError(
                f"{source} has no *.safetensors at {revision}, and other weights can run code when they are loaded; "
                f"use a repository with safetensors"
            )
        found = {}
        for file in wanted:
            declared = file.lfs.sha256 if file.lfs else None
            say(f"  {file.rfilename} ({file.size} bytes)")
            checksum = target.fetch(source, revision, where, file.rfilename, file.size, declared)
            found[file.rfilename] = {"size": file.size, "sha256": checksum}
        return found


def from_mirror(mirror: "Source", target: "Place", where: str, told: str) -> Files:
    """Copy a repository that this program brought to another place; its own list says what belongs to it."""
    if not is_complete(mirror, where):
        raise HopelessError(f"{told} is not complete in {mirror.name}/{where}; {mirror.remedy}")
    files: Files = json.loads(mirror.read(f"{where}/{MANIFEST}") or "")["files"]
    for name, declared in files.items():
        say(f"  {name} ({declared['size']} bytes)")
        target.copy(mirror, where, name, declared["size"], declared["sha256"])
    return files


def is_wanted(name: str, include: list[str], exclude: list[str]) -> bool:
    if name in (MANIFEST, COMPLETE) or name.startswith("/") or ".." in name.split("/"):
        return False
    return matches(name, include) and not matches(name, exclude) and not matches(name, PICKLED)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@contextlib.contextmanager
def told_in_one_sentence(source: str, revision: str) -> Iterator[None]:
    """The hub's refusals that no second try can mend, as HopelessError."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        if get_token():
            raise HopelessError(
                f"{source} is gated and the token has no access to it; accept its terms at https://huggingface.co/{source} "
                f"with the account of the token"
            ) from error
        raise HopelessError(
            f"{source} is gated and there is no token; put one into a Secret and name that in tokenSecret, "
            f"e.g. tokenSecret: {{name: hugging-face, key: token}}"
        ) from error
    except RevisionNotFoundError as error:
        raise HopelessError(f"{source} has no revision {revision}; use a commit that its page lists") from error
    except RepositoryNotFoundError as error:
        raise HopelessError(
            f"{source} is not there, or private and the token has no access to it; correct source or tokenSecret"
        ) from error


# What was fetched


def check_whole(target: "Place", where: str, files: Files, told: str, is_adapter: bool) -> None:
    """Whether all the parts are there that the files themselves speak of."""
    wanted = "adapter_config.json" if is_adapter else "config.json"
    if wanted not in files:
        raise HopelessError(
            f"{told} has no {wanted}, so it is no {'LoRA adapter' if is_adapter else 'model'}; use another repository"
        )
    for name in files:
        if name.endswith(".safetensors.index.json"):
            folder = name.rpartition("/")[0]
            for part in sorted(set(json.loads(target.read(f"{where}/{name}") or "")["weight_map"].values())):
                if f"{folder}/{part}".lstrip("/") not in files:
                    raise HopelessError(f"{told} lacks {part}, which its {name} speaks of; use another revision, or exclude less")


def check_adapter(target: "Place", where: str, told: str, declared: Mapping[str, Any]) -> None:
    """Whether an adapter is what the settings say of it."""
    config = json.loads(target.read(f"{where}/adapter_config.json") or "{}")
    key = f"lora.adapters.{declared['name']}"
    if config.get("r") != declared["rank"]:
        raise HopelessError(f"{key}.rank: {told} has rank {config.get('r')}, not {declared['rank']}; use rank: {config.get('r')}")
    base = str(config.get("base_model_name_or_path") or "").rstrip("/").rpartition("/")[2].lower()
    known = [name.rpartition("/")[2].lower() for name in declared["bases"]]
    # A quantized checkpoint has its base's name and something behind it.
    if not base or not any(name.startswith(base) for name in known):
        raise HopelessError(
            f"{key}: {told} was trained for {base or 'an unnamed model'}, not for {known[0]}; use an adapter of {known[0]}"
        )


def listed(repository: Mapping[str, Any], files: Files) -> str:
    """The list of what is there: the same files of the same commit have the same text, wherever they came from."""
    return json.dumps(
        {"source": repository["source"], "revision": repository["revision"], "files": files}, sort_keys=True, indent=1
    )


def checked(text: str, told: str, expected: str | None) -> str:
    """The checksum of a list of files, which says all of them are the expected ones."""
    found = hashlib.sha256(text.encode()).hexdigest()
    if expected and found != expected:
        raise HopelessError(
            f"{told} has the checksum {found}, and {expected} is expected: its files are not those that were reviewed; "
            f"remove what was fetched, and correct checksum only if a copy you trust has the same"
        )
    return found


def finish(target: "Place", where: str, text: str, checksum: str) -> None:
    """Write the list of what is there, then the mark that says so."""
    target.write(f"{where}/{MANIFEST}", text)
    target.write(f"{where}/{COMPLETE}", checksum)
    target.tidy(where)


def is_complete(place: "Place | Source", where: str) -> bool:
    mark, manifest = place.read(f"{where}/{COMPLETE}"), place.read(f"{where}/{MANIFEST}")
    if mark is None or manifest is None or mark.strip() != hashlib.sha256(manifest.encode()).hexdigest():
        return False
    return all(place.size(f"{where}/{name}") == file["size"] for name, file in json.loads(manifest)["files"].items())


# Where files go


class Source(Protocol):
    """A place that this program filled before."""

    name: str
    remedy: str
    """What to do where something is not complete there."""

    def read(self, name: str) -> str | None:
        """The text of a file; None where there is none."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def open(self, name: str) -> Any:
        """The content of a file, to read from."""

    def save(self, name: str, path: Path) -> None:
        """Write a file to `path`, which may hold its beginning."""


class Place(Protocol):
    """A volume or a bucket; names are paths below it."""

    name: str

    def fetch(self, source: str, revision: str, where: str, name: str, size: int, declared: str | None) -> str:
        """Fetch one file of the hub, unless it is there; its checksum. Raises OSError when it is not what is declared."""

    def copy(self, mirror: Source, where: str, name: str, size: int, declared: str) -> str:
        """Fetch one file of a source, unless it is there; its checksum. Raises OSError when it is not what is declared."""

    def read(self, name: str) -> str | None:
        """The text of a file; None where there is none."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def write(self, name: str, text: str) -> None:
        """Put a file there, whole or not at all."""

    def tidy(self, where: str) -> None:
        """Remove what tries leave behind."""


class Folder:
    """A mounted volume."""

    def __init__(self, path: str) -> None:
        self.name, self.path = path, Path(path)

    def fetch(self, source: str, revision: str, where: str, name: str, size: int, declared: str | None) -> str:
        from huggingface_hub import hf_hub_download

        folder = self.path / where
        folder.mkdir(parents=True, exist_ok=True)
        # The hub's client goes on within one try, but leaves the part of one that was killed, for good and under a new name each.
        for part in folder.joinpath(".cache").rglob("*.incomplete"):
            part.unlink()
        path = Path(hf_hub_download(source, name, revision=revision, local_dir=folder))
        return self._checked(path, folder, size, declared)

    def copy(self, mirror: Source, where: str, name: str, size: int, declared: str) -> str:
        path = self.path / where / name
        if self.size(f"{where}/{name}") != size:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            mirror.save(f"{where}/{name}", partial)
            partial.rename(path)
        return self._checked(path, self.path / where, size, declared)

    def _checked(self, path: Path, folder: Path, size: int, declared: str | None) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(CHUNK):
                digest.update(part)
        if problem := wrong(path.name, path.stat().st_size, size, digest, declared):
            path.unlink()
            # Else the hub's client would take the next one for fetched already.
            shutil.rmtree(folder / ".cache", ignore_errors=True)
            raise OSError(problem)
        return digest.hexdigest()

    def read(self, name: str) -> str | None:
        path = self.path / name
        return path.read_text() if path.is_file() else None

    def size(self, name: str) -> int | None:
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        partial = self.path / f"{name}.partial"
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self.path / name)

    def tidy(self, where: str) -> None:
        shutil.rmtree(self.path / where / ".cache", ignore_errors=True)


class Bucket:
    """A place in S3. Files pass through memory, a part at a time; one that fails its check is never there."""

    remedy = "let a model with that bucket as its cache bring it there"

    def __init__(self, location: str) -> None:
        try:
            import boto3
        except ImportError:
            raise HopelessError(
                f"{location} takes boto3, which this image lacks; use one with runai-model-streamer[s3]"
            ) from None
        self.bucket, _, self.prefix = location.removeprefix("s3://").strip("/").partition("/")
        self.name, self.client = location.rstrip("/"), boto3.client("s3")

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def fetch(self, source: str, revision: str, where: str, name: str, size: int, declared: str | None) -> str:
        from huggingface_hub import HfFileSystem

        if declared and self._has(f"{where}/{name}", size, declared):
            return declared
        with HfFileSystem().open(f"{source}@{revision}/{name}", "rb", block_size=4 * CHUNK) as file:
            return self._put(file, f"{where}/{name}", size, declared)

    def copy(self, mirror: Source, where: str, name: str, size: int, declared: str) -> str:
        if self._has(f"{where}/{name}", size, declared):
            return declared
        return self._put(mirror.open(f"{where}/{name}"), f"{where}/{name}", size, declared)

    def open(self, name: str) -> Any:
        return self.client.get_object(Bucket=self.bucket, Key=self.key(name))["Body"]

    def save(self, name: str, path: Path) -> None:
        self.client.download_file(self.bucket, self.key(name), str(path))

    def _put(self, file: Any, name: str, size: int, declared: str | None) -> str:
        checking = Checking(file, name, size, declared)
        # Small files have no declared checksum: they are copied again by the next try.
        noted = {"Metadata": {"sha256": declared}} if declared else None
        self.client.upload_fileobj(checking, self.bucket, self.key(name), ExtraArgs=noted)
        return str(checking.digest.hexdigest())

    def _has(self, name: str, size: int, declared: str) -> bool:
        head = self._head(name)
        return bool(head and head["ContentLength"] == size and head["Metadata"].get("sha256") == declared)

    def _head(self, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            return dict(self.client.head_object(Bucket=self.bucket, Key=self.key(name)))
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def read(self, name: str) -> str | None:
        try:
            return str(self.client.get_object(Bucket=self.bucket, Key=self.key(name))["Body"].read().decode())
        except self.client.exceptions.NoSuchKey:
            return None

    def size(self, name: str) -> int | None:
        head = self._head(name)
        return int(head["ContentLength"]) if head else None

    def write(self, name: str, text: str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.key(name), Body=text.encode())

    def tidy(self, where: str) -> None:
        """Parts of uploads that were broken off are the bucket's lifecycle's business."""


class Web:
    """A directory behind a web server, which this program filled where there was internet."""

    remedy = "fill the mirror again, and copy it whole"

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")

    def _ask(self, name: str, method: str = "GET", first: int = 0) -> Any:
        wanted = {"Range": f"bytes={first}-"} if first else {}
        address = f"{self.name}/{urllib.parse.quote(name)}"
        request = urllib.request.Request(address, headers=wanted, method=method)  # noqa: S310 - the plan's own address
        return urllib.request.urlopen(request, timeout=60)  # noqa: S310

    def read(self, name: str) -> str | None:
        try:
            with self._ask(name) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def size(self, name: str) -> int | None:
        try:
            with self._ask(name, "HEAD") as answer:
                return int(answer.headers["Content-Length"])
        except urllib.error.HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def open(self, name: str) -> Any:
        return self._ask(name)

    def save(self, name: str, path: Path) -> None:
        there = path.stat().st_size if path.is_file() else 0
        if there and there >= (self.size(name) or 0):
            # What is too long, or whole and was never checked, is no beginning.
            there = 0
        with self._ask(name, first=there) as answer, path.open("ab" if answer.status == PARTIAL else "wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)


class Checking:
    """A file whose reader fails at its end unless it is what was declared, so that an upload of it is never completed."""

    def __init__(self, file: Any, name: str, size: int, declared: str | None) -> None:
        self.file, self.name, self.size, self.declared = file, name, size, declared
        self.digest, self.read_so_far = hashlib.sha256(), 0

    def read(self, amount: int = -1) -> bytes:
        part: bytes = self.file.read(amount)
        self.digest.update(part)
        self.read_so_far += len(part)
        at_end = not part or self.read_so_far >= self.size
        if at_end and (problem := wrong(self.name, self.read_so_far, self.size, self.digest, self.declared)):
            raise OSError(problem)
        return part


def wrong(name: str, size: int, expected: int, digest: Any, declared: str | None) -> str | None:
    """What is wrong with a file that was fetched."""
    if size != expected:
        return f"{name} has {size} bytes of {expected}; it is fetched anew"
    if declared and digest.hexdigest() != declared:
        return f"{name} has the checksum {digest.hexdigest()}, and {declared} is declared; it is fetched anew"
    return None


def source_of(location: str) -> Source:
    return bucket_of(location) or Web(location)


def bucket_of(location: str) -> "Bucket | None":
    return Bucket(location) if location.startswith("s3://") else None


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except HopelessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(HOPELESS)
