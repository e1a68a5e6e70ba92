"""Phrases of a text by their places: exchanging two of them, and what tells two texts apart."""

from collections.abc import Mapping, Sequence

from ablate2tune.contrasts.contrast import Contrast, Span

ARTICLES = ("a ", "an ", "the ")


def exchanged(
    text: str, spans: Mapping[str, Span], one: str, other: str
) -> tuple[str, dict[str, Span]]:
    """A text with two of its phrases exchanged, and where its phrases are now.

    >>> exchanged("a cat by a red car", {"one": (0, 5), "two": (9, 18)}, "one", "two")
    ('a red car by a cat', {'one': (0, 9), 'two': (13, 18)})
    """
    first, second = sorted((spans[one], spans[other]))
    before, between, after = text[: first[0]], text[first[1] : second[0]], text[second[1] :]
    words = [text[slice(*second)], text[slice(*first)]]
    longer = len(words[0]) - len(words[1])

    def moved(name: str, span: Span) -> Span:
        if span == first:
            return first[0], first[0] + len(words[0])
        if span == second:
            return second[0] + longer, second[0] + longer + len(words[1])
        shift = longer if first[1] <= span[0] < second[0] else 0
        return span[0] + shift, span[1] + shift

    places = {name: moved(name, span) for name, span in spans.items()}
    return f"{before}{words[0]}{between}{words[1]}{after}", places


def without_article(text: str, span: Span) -> Span:
    """A phrase's place without the article it begins with.

    >>> without_article("a cat behind a car", (0, 5))
    (2, 5)
    """
    phrase = text[slice(*span)].lower()
    article = next((word for word in ARTICLES if phrase.startswith(word)), "")
    return span[0] + len(article), span[1]


def stated(contrast: Contrast) -> tuple[str, str]:
    """What the true text and the target foil state, where they may differ.

    The words of the first named phrase; without one of the same name in both texts, all words
    between those with which both begin and those with which both end.
    """
    for name in contrast.spans.get("true", {}):
        one, other = contrast.phrase(name), contrast.phrase(name, "target")
        if one is not None and other is not None:
            return one, other
    return _differing(contrast.text.split(), contrast.texts["target"].split())


def _differing(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    shorter = min(len(one), len(other))
    start = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    end = next((i for i in range(shorter - start) if one[-1 - i] != other[-1 - i]), shorter - start)
    return " ".join(one[start : len(one) - end]), " ".join(other[start : len(other) - end])
