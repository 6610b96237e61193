"""Command lines of stand-ins: an option they do not know is refused, so that a script cannot rely on what was not looked at."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sandbox.hosts.calls import Refusal


@dataclass
class Options:
    """A command line taken apart."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)


def parse(program: str, arguments: Sequence[str], flags: Collection[str], values: Collection[str] = ()) -> Options:
    """Options by their names as written, e.g. `-y`; short ones may stand together, values follow or come after `=`.

    Refusal for any other.
    """
    found = Options()
    left = list(arguments)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            found.rest += left
            break
        if not word.startswith("-") or word == "-":
            found.rest.append(word)
        elif word in flags:
            found.flags.add(word)
        elif equals and name in values:
            found.values[name] = value
        elif word in values:
            if not left:
                raise Refusal(f"{program}: option {word} needs a value", 2)
            found.values[word] = left.pop(0)
        elif not word.startswith("--") and len(word) > 2:
            left = _apart(word, flags, values) + left
            if left[0] == word:
                raise Refusal(f"{program}: the rehearsal knows no option {word}", 2)
        else:
            raise Refusal(f"{program}: the rehearsal knows no option {word}", 2)
    return found


def _apart(word: str, flags: Collection[str], values: Collection[str]) -> list[str]:
    """`-fsSLo` as `-f -s -S -L -o`; the word itself where that is not what it is."""
    parts: list[str] = []
    for position, letter in enumerate(word[1:], start=1):
        option = f"-{letter}"
        if option in values:
            tail = word[position + 1 :]
            return [*parts, option, *([tail] if tail else [])]
        if option not in flags:
            return [word]
        parts.append(option)
    return parts
