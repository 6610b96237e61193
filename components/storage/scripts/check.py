"""Whether models are whole before an engine starts on them: `python3 check.py DIRECTORY...`, standard library only.

A directory is whole when llm-platform-complete is the checksum of llm-platform-manifest.json, and every file listed there has its
size. Contents were checked when they were fetched; reading them again would double the time to load.
"""

import hashlib
import json
import sys
from pathlib import Path


def fault(directory: Path) -> str | None:
    """What is missing, in one sentence; None when nothing is."""
    again = "delete the directory and run the download Job again: remove the Job and run pulumi up"
    mark, manifest = directory / "llm-platform-complete", directory / "llm-platform-manifest.json"
    if not mark.is_file() or not manifest.is_file():
        return f"{directory} has no finished download; wait for the download Job of this model, or look at its log"
    text = manifest.read_bytes()
    if mark.read_text().strip() != hashlib.sha256(text).hexdigest():
        return f"{manifest} is not what the download wrote; {again}"
    for name, file in json.loads(text)["files"].items():
        path = directory / name
        if not path.is_file():
            return f"{path} is missing; {again}"
        if path.stat().st_size != file["size"]:
            return f"{path} has {path.stat().st_size} bytes of {file['size']}; {again}"
    return None


if __name__ == "__main__":
    faults = [found for found in (fault(Path(directory)) for directory in sys.argv[1:]) if found]
    for sentence in faults:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(1 if faults else 0)
