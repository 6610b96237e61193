"""Which repositories of Hugging Face give their files to accounts only that accepted their terms. Pure."""

import fnmatch

GATED = {
    "meta-llama/*": 'huggingface.co/meta-llama/Meta-Llama-3-8B/discussions/123, "Cannot access gated repo"',
    "google/gemma-*": 'huggingface.co/google/gemma-3n-E2B/tree/main, "You can list files but not access them"',
}
"""By pattern where that is said. Not whole: an owner can gate a repository at any time, and the download says so then."""


def check_token(source: str, has_token: bool) -> str | None:
    """What is missing, in one sentence, where a repository is known to need a token and there is none."""
    if has_token or not any(fnmatch.fnmatchcase(source.lower(), pattern) for pattern in GATED):
        return None
    return (
        f"{source} is gated: its files need a token of an account that accepted the terms on huggingface.co/{source}; "
        f"put one into a Secret and name that, e.g. tokenSecret: {{name: hugging-face, key: token}}"
    )
