"""The contrast: an example, a text that is true of it, and foils that are not.

The target foil is false in what is to be localized ("a cat right of a car" for a cat on the left),
the control foil in something else ("a red cat left of a car" for a black one). Whoever makes the
contrast knows where its phrases are, so their places travel with it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ablate2tune import files

Role = Literal["true", "target", "control"]
"""What a text is to its example: true of it, the target foil, or the control foil."""
Span = tuple[int, int]
"""Characters [start, end) of a phrase in its text."""
TRAINING, TEST = "train", "test"
SPLITS = TRAINING, TEST
"""Components are measured on the first; a judge's error is told on the second."""


class Payload(Protocol):
    """Whatever holds what the texts are about: a path, or a file inside an archive."""

    def read_bytes(self) -> bytes:
        """The content."""
        ...


@dataclass(frozen=True)
class Contrast:
    """One example that states a capability."""

    id: str
    """Unique in its set; the noise it is probed with follows from it."""
    cluster: str
    """What is drawn, held out and resampled as one: the examples that share a text or a scene."""
    payload: Payload
    """The picture; or of texts alone, what they were made of."""
    texts: Mapping[Role, str]
    """By role: `true` and `target` always, `control` in all examples of a set or in none."""
    spans: Mapping[Role, Mapping[str, Span]] = field(default_factory=dict)
    """Named phrases of each text, the one that the target foil changes first:
    {"true": {"relation": (6, 12), "subject": (0, 5)}}."""
    split: str = TRAINING
    foils: Mapping[Role, str] = field(default_factory=dict, compare=False)
    """What each foil is false in, for people: {"target": "spatial relations"}."""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What else is known of the picture, of which a judge can be asked: a scene's relation and
    objects; empty where the maker knows nothing."""

    @property
    def text(self) -> str:
        """The true text."""
        return self.texts["true"]

    def phrase(self, name: str, role: Role = "true") -> str | None:
        """The words of a named phrase; None where the text has none of that name."""
        span = self.spans.get(role, {}).get(name)
        return None if span is None else self.texts[role][slice(*span)]


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of one capability, in their own order."""

    examples: Sequence[Contrast]

    def of(self, split: str) -> list[Contrast]:
        """The examples of one split."""
        return [example for example in self.examples if example.split == split]


def contrasts_hash(examples: Sequence[Contrast]) -> str:
    """Hash of examples as a probe sees them: ids, clusters, texts, phrases and content."""
    return files.content_hash(
        *(
            part
            for example in examples
            for part in (
                [example.id, example.cluster, dict(example.texts)],
                {role: dict(spans) for role, spans in example.spans.items()},
                hashlib.sha256(example.payload.read_bytes()).hexdigest(),
            )
        )
    )
