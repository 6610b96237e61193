"""Outputs that wait for more than the resource they come from."""

from typing import Any, TypeVar

import pulumi

T = TypeVar("T")


def known_after(value: pulumi.Input[T], *repeated: pulumi.Output[Any]) -> pulumi.Output[T]:
    """`value`, known once the resources exist whose outputs `repeated` are; what uses it is made after them and deleted before.

    Give outputs that repeat an input of theirs: in a preview those are known where an id or an ARN would not be.
    """
    first: pulumi.Output[T] = pulumi.Output.all(value, *repeated).apply(lambda values: values[0])
    return first
