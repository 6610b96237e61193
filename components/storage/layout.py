"""Where the files of a model lie, on volumes and in buckets alike. Pure."""

import pulumi

MODEL_ROOT = "/models"
"""Where every pod mounts a model cache."""

PREFIX_PATTERN = r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*"
"""A prefix of keys in a bucket (S3 user guide, "Object key naming guidelines", safe characters)."""

VOCABULARIES = f"{MODEL_ROOT}/vocabularies"
"""Where pods find what some engines need beside the model."""

MANIFEST, COMPLETE = "llm-platform-manifest.json", "llm-platform-complete"
"""What a finished download leaves beside the files: their sizes and checksums, and the checksum of that list."""


def repository_directory(source: str, revision: str) -> str:
    """Name of the directory of one revision of a repository; another revision never overwrites it."""
    return f"{source.replace('/', '--')}/{revision}"


def below(location: pulumi.Input[str], directory: str) -> pulumi.Output[str]:
    """`directory` below a place in a bucket, with or without a slash at its end."""
    return pulumi.Output.from_input(location).apply(lambda place: f"{place.rstrip('/')}/{directory}")
