"""How people say each relation, in prompts and in varied captions."""

from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.registry import Registry
from ablate2tune.scenes.vocabulary import CONTRAST

WORDINGS: Registry[dict[str, tuple[str, ...]]] = Registry(
    "set of wordings", "ablate2tune.scenes.wordings"
)
"""By name: relations, each with words for it, in lower case."""


def wordings() -> dict[str, tuple[str, ...]]:
    """All words for every relation, the usual ones first.

    Raises:
        UserError: an extension has words for no relation, or words that are none, not in lower case
            or no tuple.
    """
    said: dict[str, list[str]] = {relation: [] for relation in CONTRAST}
    for name, words in zip(WORDINGS, WORDINGS.values(), strict=True):
        for relation, ways in words.items():
            where = f"set of wordings {name!r}"
            if relation not in said:
                raise UserError(
                    f"unknown relation {relation!r}", where=where, mend=did_you_mean(relation, said)
                )
            if isinstance(ways, str):
                raise UserError(
                    f"the words for {relation!r} are one text, {ways!r}",
                    where=where,
                    mend=f"write ({ways!r},)",
                )
            for way in ways:
                if not way or way != " ".join(way.lower().split()):
                    raise UserError(
                        f"{way!r} is not in lower case with single spaces",
                        where=where,
                        mend="write it so",
                    )
            said[relation] += [way for way in ways if way not in said[relation]]
    return {relation: tuple(ways) for relation, ways in said.items()}
