"""`ablate2tune export`: a run's adapter for other tools, merged, or as a list of targets."""

from collections.abc import Callable
from pathlib import Path

import torch

from ablate2tune import files
from ablate2tune.disk.identity import identity
from ablate2tune.disk.new_folder import check_new, new_folder
from ablate2tune.errors import UserError
from ablate2tune.export.exported_run import ExportedRun, read_run
from ablate2tune.export.lora_formats import FORMATS
from ablate2tune.export.model_card import GRID, card
from ablate2tune.export.target_lists import TOOLS
from ablate2tune.models import Denoiser, load_denoiser, shell_of
from ablate2tune.progress import Terminal


def run(
    folder: Path,
    form: str | None,
    merged: bool,
    targets: str | None,
    out: Path | None,
    terminal: Terminal,
) -> None:
    """What was typed: one of a format, a merged pipeline and a trainer's list.

    Raises:
        UserError: more than one is asked for; or what each raises.
    """
    if sum((form is not None, merged, targets is not None)) > 1:
        raise UserError("--format, --merge and --targets are three commands", mend="give one")
    if targets is not None:
        print_targets(folder, targets, terminal)
    elif merged:
        merge(folder, out, terminal)
    else:
        export(folder, form or "diffusers", out, terminal)


def export(folder: Path, form: str, out: Path | None, terminal: Terminal) -> Path:
    """Write a run's adapter in a format, with a card; into `RUN/export/FORMAT` by default.

    Returns:
        The weights' file.

    Raises:
        UserError: what `read_run` raises, an unknown format, a module without a name in it, or a
            folder that is there.
    """
    write = FORMATS[form]
    run = read_run(folder)
    model = _shell(run)
    lowest = model.schedule.timestep(torch.tensor([run.acts_above])).item()
    found: list[Path] = []

    def fill(scratch: Path) -> None:
        found.append(write(model, run.adapter, scratch, run.facts()))
        _describe(run, scratch, found[0].name, form, lowest)

    out = _whole(out, run, form, fill)
    terminal.say(f"{len(run.modules)} modules, format {form}: {out / found[0].name}")
    if run.acts_above:
        terminal.say(f"It is for noise levels from {run.acts_above:g} up: see {out / 'README.md'}")
    return out / found[0].name


def merge(folder: Path, out: Path | None, terminal: Terminal) -> Path:
    """Write the base pipeline with the adapter in its weights; a stock pipeline's folder.

    The base is read in its own dtype, however few bits the adapter was trained on.

    Raises:
        UserError: what `read_run` raises, the base is another one by now, a folder that is there,
            or the adapter acts at some noise levels alone.
    """
    run = read_run(folder)
    if run.acts_above:
        raise UserError(
            "the adapter acts at high noise alone; merged, it would act at every level",
            where=f"train.acts_above = {run.acts_above:g}",
            mend="export it without --merge",
        )
    if out:
        check_new(out)
    model = load_denoiser(run.recipe.model.model_copy(update={"quantize": None}))
    wrong = model.adapter_misfit(run.adapter, identity(run.recipe.model.path))
    if wrong:
        raise UserError(wrong, where=str(run.adapter))
    model.load_adapter(run.adapter)
    model.merge_adapter()

    def fill(scratch: Path) -> None:
        model.pipe.save_pretrained(scratch)
        _describe(run, scratch, "", "merged", 0.0)

    out = _whole(out, run, "merged", fill)
    terminal.say(f"merged pipeline in {out}")
    return out


def print_targets(folder: Path, tool: str, terminal: Terminal) -> list[str]:
    """Say the run's modules in another trainer's syntax; the lines.

    Raises:
        UserError: what `read_run` raises, an unknown trainer, or a syntax that cannot say it.
    """
    lines_of = TOOLS[tool]
    run = read_run(folder)
    lines = lines_of(_shell(run), run.modules, run.rank)
    for line in lines:
        terminal.say(line)
    return lines


def _shell(run: ExportedRun) -> Denoiser:
    """The model by its shapes, or whole where these alone are not here."""
    return shell_of(run.recipe.model) or load_denoiser(run.recipe.model)


def _describe(run: ExportedRun, folder: Path, weights: str, kind: str, lowest: float) -> None:
    if run.grid:
        files.write_bytes(folder / GRID, run.grid.read_bytes())
    files.write_text(folder / "README.md", card(run, weights, kind, lowest))


def _whole(given: Path | None, run: ExportedRun, name: str, fill: Callable[[Path], None]) -> Path:
    """A folder that is there whole or not at all; the run's own one is replaced."""
    out = given or run.folder / "export" / name
    with new_folder(out, replace=given is None) as scratch:
        fill(scratch)
    return out
