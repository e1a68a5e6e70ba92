"""The stage render-data: a data set of rendered scenes, which other recipes may share.

Its folder says itself what it holds and what is missing, so it is always run, and needs no record
in a run's manifest.
"""

from collections import Counter
from collections.abc import Sequence

from ablate2tune.errors import UserError
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.checking.evidence import Evidence, check_captions, write_evidence
from ablate2tune.scenes.checking.priors import CHANCE, prior_check
from ablate2tune.scenes.checking.single_cues import MARGIN, cue_check, cue_scenes
from ablate2tune.scenes.dataset.records import SceneRecord, read_dataset
from ablate2tune.scenes.rendering.render import RenderSummary, render_dataset

NAMED = 3
"""Kinds that `check_data` tells of."""


def check_scenes(recipe: Recipe) -> None:
    """Refuse, before any work, scenes that later stages could not use.

    Raises:
        UserError: they have another size than the model runs at, or there would be no test scenes
            to measure the judge on.
    """
    size, model = recipe.scenes.size, recipe.model
    if (model.width, model.height) != (size, size):
        raise UserError(
            f"the scenes have {size} x {size} pixels, but the model runs at {model.width} x "
            f"{model.height}",
            where="scenes.size",
            mend="set model.width and model.height to it, or it to theirs",
        )
    if recipe.compare.judge and not recipe.scenes.test_images:
        raise UserError(
            "there would be no test scenes to measure the judge on",
            where="scenes.test_images = 0",
            mend="set it to 100 or more",
        )


def render_data(recipe: Recipe, terminal: Terminal) -> RenderSummary:
    """Render the data set, or complete the one that is there."""
    with terminal.bar("render-data") as progress:
        return render_dataset(
            recipe.scenes, recipe.seed, recipe.data_folder, progress, terminal.say
        )


def _drawn_even(record: SceneRecord) -> bool:
    """Whether it is of a natural world whose objects and relations were drawn, not asked for."""
    return "environment" in record.more and "prompt" not in record.more


def most_named(records: Sequence[SceneRecord]) -> str:
    """The kinds that captions name most, with their part of all mentions."""
    named = Counter[str]()
    for record in records:
        named.update(filter(None, (record.subject, record.object, record.more.get("third"))))
    told = (f"{kind} {count / named.total():.1%}" for kind, count in named.most_common(NAMED))
    return f"{len(named)} kinds; named most: {', '.join(told)}"


def check_data(recipe: Recipe, terminal: Terminal) -> Evidence:
    """Say whether the data set's pictures show what their captions say, and what gives it away.

    Raises:
        UserError: a picture contradicts its caption or shows what a foil says, or, in a natural
            world of drawn objects, a single cue tells a relation.
    """
    records = read_dataset(recipe.data_folder)
    for line in prior_check(records).lines():
        terminal.say(line)
    terminal.say(most_named(records))
    cues = cue_check(cue_scenes(records))
    for line in cues.lines():
        terminal.say(line)
    terminal.say("each caption and foil against depth, mask and camera:")
    evidence = check_captions(records)
    for line in evidence.lines():
        terminal.say(line)
    path = write_evidence(evidence, recipe.data_folder)
    wrong = [scene.scene_id for scene in evidence.scenes if scene.wrong]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(records)} pictures contradict their captions, {wrong[0]} first",
            where=str(path),
            mend="delete their sidecars and run render-data again",
        )
    telling = cues.telling() if all(_drawn_even(record) for record in records) else []
    if telling:
        pair, cue, guess = telling[0]
        raise UserError(
            f"{cue} alone tells {pair[0]} from {pair[1]} in {guess} of {guess.scenes} scenes, "
            f"more than {CHANCE + MARGIN:.0%}",
            where=str(recipe.data_folder),
            mend="render more scenes or other objects; see docs/scenes.md, What could be guessed",
        )
    return evidence
