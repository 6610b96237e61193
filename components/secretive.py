"""What a secret looks like, and text without it. Pure."""

import itertools
import re

_KNOWN = re.compile(
    r"\b(hf_\w{8,}|sk-[\w-]{8,}|nvapi-[\w-]{8,}|gh[opsur]_\w{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}|pul-\w{8,}|xox[abprs]-[\w-]{8,}"
    r"|(AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w.-]*)[\w+/=~-]*"
)
_LOGIN = re.compile(r"((?<=//)|(?<![^\s/:@'\"])[^\s/:@'\"]++):[^\s/]{1,500}@(?!sha\d+:)")
"""A user and a password before a host; a tag before a digest is none."""
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----(\s|\\[nr])*\w[\s\S]*?(-----END [A-Z ]+-----|\Z)")
_WORD = re.compile(r"[\w+/=~-]{20,}")
_PUBLIC_KEY = "AAAA"
"""What a public key of SSH begins with: the length of its kind."""
_RUN = re.compile(r"[A-Za-z0-9]{20,}")
_DIGEST = re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{40})\b")
_SECRET_NAME = re.compile(r"(^|_)(TOKEN|API_?KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?|(SECRET_|PRIVATE_|ACCESS_)KEY)(_ID)?$")


def names_secret(name: str) -> bool:
    """Whether a variable of that name is there for a secret, e.g. `HF_TOKEN`."""
    return bool(_SECRET_NAME.search(name.upper()))


def looks_secret(text: str) -> bool:
    """Whether a credential seems to be in it: a known kind, a login, or letters and digits in no order that a word has."""
    return hidden(text) != text


def hidden(text: str) -> str:
    """The text with … in place of all that looks like a secret."""
    for form in (_PEM, _LOGIN, _KNOWN):
        text = form.sub("…", text)
    return _WORD.sub(_without_runs, text)


def _without_runs(word: re.Match[str]) -> str:
    runs = [] if word[0].startswith(_PUBLIC_KEY) else _RUN.findall(_DIGEST.sub("", word[0]))
    return "…" if any(_changes(run) >= 0.4 for run in runs) else word[0]


def _changes(run: str) -> float:
    """Share of neighbours that differ in kind: lower case, upper case, digit."""
    kinds = ["0" if char.isdigit() else "A" if char.isupper() else "a" for char in run]
    return sum(a != b for a, b in itertools.pairwise(kinds)) / (len(run) - 1)
