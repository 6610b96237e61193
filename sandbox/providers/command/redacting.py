"""What nobody may read of a command's resource, taken out of every text about it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sandbox.providers.contract import Request
from sandbox.providers.properties import Path, Properties, leaves, lookup

_PRIVATE: Final = ("password", "privateKey", "privateKeyPassword")
_GROUPS: Final[tuple[Path, ...]] = (("connection",), ("connection", "proxy"))
_WORD: Final = re.compile(r"""[^\s"'=,;{}\[\]]{8,}""")
"""What can be secret by itself in a longer secret: shorter words would blank out ordinary text."""
_NAME: Final = re.compile(r"""["']?\s*[:=]""")
"""What follows a word that is a name, not a value."""


class Blinds:
    """Takes secrets out of texts: as a whole, and their values and lines, since a command may print one line of its input."""

    def __init__(self, request: Request) -> None:
        bags = (_narrowed(request.inputs), _narrowed(request.old_inputs), _narrowed(request.state))
        self._request = replace(request, inputs=bags[0], old_inputs=bags[1], state=bags[2])
        self._words = sorted({word for bag in bags for word in _words(bag)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        text = self._request.redact(text)
        for word in self._words:
            text = text.replace(word, "[secret]")
        return text


def _narrowed(bag: Properties) -> Properties:
    """With what is private of a connection as the secret, instead of all of it: messages have to name the host."""
    private = {(*group, name) for group in _GROUPS for name in _PRIVATE if lookup(bag.values, (*group, name)) is not None}
    return Properties(bag.values, (bag.secrets - set(_GROUPS)) | private)


def _words(bag: Properties) -> Iterator[str]:
    for path in bag.secrets:
        for leaf in leaves(lookup(bag.values, path)):
            for match in _WORD.finditer(leaf) if isinstance(leaf, str) else ():
                if not match[0].endswith(":") and not _NAME.match(leaf, match.end()):
                    yield match[0]
