"""The stage small-gpt: a small GPT trained from nothing on bytes of text."""

import hashlib
from typing import Any

from ablate2tune.disk.identity import PREFIX
from ablate2tune.files import content_hash, read_json
from ablate2tune.recipe import Recipe
from ablate2tune.small_gpt.byte_text import ByteText, read_text
from ablate2tune.small_gpt.gpt_training import RESULT, STATE, train_gpt
from ablate2tune.stage import Job, Stage


def text_of(recipe: Recipe) -> ByteText:
    """The recipe's text.

    Raises:
        UserError: as for `read_text`.
    """
    return read_text(recipe.gpt.text, recipe.gpt.megabytes, recipe.gpt.context)


def text_hash(recipe: Recipe) -> str:
    """Hash of the bytes that are trained and validated on."""
    digest = hashlib.sha256()
    for part in text_of(recipe):
        digest.update(part.tobytes() + b"\0")
    return PREFIX + digest.hexdigest()[:16]


def check(recipe: Recipe) -> None:
    """Refuse a text that is not there or too short."""
    text_of(recipe)


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, settings, and the bytes, wherever they lie."""
    settings = {key: value for key, value in recipe.gpt.decisive().items() if key != "text"}
    return {"seed": recipe.seed, "gpt": settings, "text": text_hash(recipe)}


def work(job: Job) -> None:
    """Train."""
    recipe = job.recipe
    with job.terminal.bar("gpt") as progress:
        train_gpt(recipe.gpt, text_of(recipe), recipe.seed, job.folder, progress)


def tell(job: Job) -> None:
    """What it reached."""
    found = read_json(job.folder / RESULT)
    job.terminal.say(f"validation loss {found['validation_loss']:.3f} nats per byte: {job.folder}")


STAGE = Stage(
    name="small-gpt",
    inputs=inputs,
    work=work,
    check=check,
    tell=tell,
    results=(RESULT,),
    scratch=(STATE,),
)


def key_of(recipe: Recipe) -> str:
    """Hash of all that the stage's results depend on."""
    return content_hash(inputs(recipe))
