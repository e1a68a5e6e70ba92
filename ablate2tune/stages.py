"""The stages of the main job, in their order."""

from ablate2tune.compare.stage import STAGE as COMPARE
from ablate2tune.localize.stage import STAGE as LOCALIZE
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.stage import check_scenes, render_data
from ablate2tune.stage_running import run_stage
from ablate2tune.train.stage import STAGE as TRAIN
from ablate2tune.train.stage import tuned

STAGES = {stage.name: stage for stage in (LOCALIZE, TRAIN, COMPARE)}
"""In the order in which each reads what those before it wrote."""


def run_stages(recipe: Recipe, terminal: Terminal) -> None:
    """The main job: the data set, then every stage, and in the end what was tuned.

    Raises:
        UserError: what a stage can refuse before any work, said before hours are spent on the
            stages ahead of it; or what a stage raises.
    """
    check_scenes(recipe)
    for stage in reversed(STAGES.values()):
        stage.check(recipe)
    render_data(recipe, terminal)
    for stage in STAGES.values():
        run_stage(stage, recipe, terminal)
    for line in tuned(recipe.run_folder / TRAIN.name):
        terminal.say(line)
