"""Which kinds can stand on, and under, which, and how large they must be for it.

Every vertical group needs both relations: its twins show "A on top of B" and "A underneath B". Two
solid things exchange places. A piece of furniture stays where it is: a small thing stands on it in
one twin and between its legs in the other.
"""

from dataclasses import dataclass

VERTICAL = ("on top of", "underneath")
SHRUNK = {"table": 1 / 1.75, "chair": 1 / 2.4}
"""Kinds with free height below, and the size a thing takes to fit there and on top."""
POINTED = ("ball", "cone")
"""Kinds without a top that bears wheels."""


@dataclass(frozen=True)
class Stack:
    """How a vertical group is built.

    `scale` multiplies the subject's size. With `exchange`, the opposite relation puts the object on
    the subject; without, the object stands over the subject.
    """

    scale: float = 1.0
    exchange: bool = True


def stack(subject: str, object_: str) -> Stack | str:
    """How the subject is shown on top of and underneath the object, or why it cannot be.

    >>> stack("ball", "table").exchange
    False
    >>> stack("table", "ball")
    'a table cannot rest on a ball'
    """
    if object_ in SHRUNK:
        return Stack(scale=SHRUNK[object_], exchange=False)
    if subject in SHRUNK:
        return f"a {subject} cannot rest on a {object_}"
    for upper, lower in ((subject, object_), (object_, subject)):
        if upper == "car" and lower in POINTED:
            return f"a car cannot rest on a {lower}"
    return Stack()
