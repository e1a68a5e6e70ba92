"""The command line: arguments in, exit code out. All work is in the packages that it calls."""

import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ablate2tune import __version__
from ablate2tune.errors import UserError, one_line
from ablate2tune.progress import Terminal

if TYPE_CHECKING:
    from ablate2tune.recipe import Recipe


class StoppedError(Exception):
    """Ctrl-C, which some versions of typer would end without a word."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise StoppedError from error


app = typer.Typer(
    cls=_Commands,
    help="Find the parts of a model that carry a capability, and train LoRA only there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
testbed_app = typer.Typer(help="The embedded small FLUX.", no_args_is_help=True)
app.add_typer(testbed_app, name="testbed")

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to override, e.g. train.steps=200."),
]


def _at_home(path: Path | None) -> Path | None:
    """`--out=~/x` reaches us as it was typed: no shell looks behind the equals sign."""
    return path.expanduser() if path else None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ablate2tune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_print_version)
    ] = False,
) -> None:
    pass


def _recipe(path: Path, overrides: list[str] | None) -> "Recipe":
    # Here and not above: what a recipe may name is imported with it, torch included.
    from ablate2tune.recipe import load_recipe

    return load_recipe(path, overrides)


def _run(stage: str, recipe: Path, overrides: list[str] | None) -> Terminal:
    from ablate2tune.stage_running import is_main_process, run_stage
    from ablate2tune.stages import STAGES

    terminal = Terminal(quiet=not is_main_process())
    run_stage(STAGES[stage], _recipe(recipe, overrides), terminal)
    return terminal


def _next(command: str, recipe: Path, overrides: list[str] | None) -> str:
    """What to type next, as it stands, in a checkout or outside."""
    launch = ["accelerate", "launch", "-m"] if command == "train" else []
    return f"next: {shlex.join([*launch, *_typed(command, recipe, overrides)])}"


def _typed(command: str, recipe: Path, overrides: list[str] | None, *more: str) -> list[str]:
    """A command's words; of what was overridden, what `more` sets otherwise is left out."""
    said = {part.partition("=")[0] for part in more}
    kept = [part for part in overrides or [] if part.partition("=")[0].strip() not in said]
    return ["ablate2tune", command, str(recipe), *kept, *more]


@app.command()
def components(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A pipeline or model folder; no weights needed.")
    ],
) -> None:
    """Show what can be ablated in a model, from its configuration alone."""
    from ablate2tune.components import discover
    from ablate2tune.components.configs import empty_models
    from ablate2tune.components.show import describe

    for name, empty in empty_models(model):
        for line in describe(name, discover(empty)):
            typer.echo(line)


@app.command("render-data")
def render_data(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    preview: Annotated[bool, typer.Option(help="One small group of each relation only.")] = False,
) -> None:
    """Render captioned, geometry-verified scenes with Blender."""
    settings, terminal = _recipe(recipe, overrides), Terminal()
    if preview:
        from ablate2tune.scenes.rendering.preview import preview as render_preview

        path = settings.data_folder.with_name(f"{settings.data_folder.name}-preview.png")
        with terminal.bar("preview") as progress:
            render_preview(settings.scenes, settings.seed, path, progress, terminal.say)
        terminal.say(f"preview: {path}")
        return
    from ablate2tune.scenes.stage import render_data as render

    summary = render(settings, terminal)
    terminal.say(f"{summary.images} images in {settings.data_folder}")
    terminal.say(_next("localize", recipe, overrides))


@app.command()
def assets(
    path: Annotated[Path, typer.Argument(metavar="PNG", help="The picture to write.")],
    folder: Annotated[
        Path | None, typer.Option(help="Asset files of your own.", callback=_at_home)
    ] = None,
    size: Annotated[int, typer.Option(min=16, help="Pixels of each picture.")] = 128,
    samples: Annotated[int, typer.Option(min=1, help="Cycles samples per pixel.")] = 8,
) -> None:
    """Render a contact sheet of every object that scenes can show."""
    from ablate2tune.scenes.rendering.contact_sheet import contact_sheet

    terminal = Terminal()
    with terminal.bar("assets") as progress:
        shown = contact_sheet(path, folder=folder, size=size, samples=samples, on_progress=progress)
    terminal.say(f"{len(shown)} assets in {path}")


@app.command("check-data")
def check_data(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Check a rendered set: captions true, foils false, relations not to be guessed."""
    from ablate2tune.scenes.stage import check_data as check

    check(_recipe(recipe, overrides), Terminal())


@app.command("export-data")
def export_data(
    recipe: RecipeArgument,
    form: Annotated[str, typer.Option("--format", help="webdataset, coco or gallery.")] = "gallery",
    out: Annotated[Path | None, typer.Option(help="Where to write.", callback=_at_home)] = None,
    overrides: Overrides = None,
) -> None:
    """Write a rendered data set as WebDataset shards, COCO JSON or an HTML gallery."""
    from ablate2tune.scenes.dataset.export import export

    written = export(_recipe(recipe, overrides).data_folder, form, out)
    Terminal().say(f"wrote {written}")


@app.command()
def localize(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Rank blocks and sub-layers by ablation (also under `accelerate launch`)."""
    from ablate2tune.models import is_language_model

    terminal, settings = _run("localize", recipe, overrides), _recipe(recipe, overrides)
    if settings.train.text or not is_language_model(settings.model.path):
        terminal.say(_next("train", recipe, overrides))


@app.command()
def train(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Train LoRA on the top-ranked modules only (also under `accelerate launch`)."""
    from ablate2tune.train.stage import teaches_text

    terminal = _run("train", recipe, overrides)
    if not teaches_text(_recipe(recipe, overrides)):  # arms are compared by pictures
        terminal.say(_next("compare", recipe, overrides))


@app.command()
def compare(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Compare arms on the same prompts and seeds: before and after, or any others."""
    _run("compare", recipe, overrides)


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder, a hub name, or a .gguf file.")
]
Ablate = Annotated[
    list[str] | None,
    typer.Option("--ablate", metavar="ADDRESS[=MODE]", help="What to take out; may be repeated."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]


@app.command("try")
def try_out(
    model: Model,
    ablate: Ablate = None,
    prompt: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Of each text at most.")] = 40,
    out: Annotated[
        Path | None, typer.Option(help="The picture to write, of a pipeline.", callback=_at_home)
    ] = None,
    size: Annotated[int, typer.Option(min=8, help="Of pictures, in pixels.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps of pictures.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures' noise.")] = 0,
    dtype: Dtype = "float32",
    device: Device = "auto",
) -> None:
    """Show a model's text or pictures with and without some components."""
    from ablate2tune.try_out.try_command import run as show

    show(
        model, ablate or [], prompt or [], Terminal(), tokens, out, size, steps, seed, dtype, device
    )


@app.command()
def direction(
    model: Model,
    one: Annotated[
        Path, typer.Option(help="Prompts, a line each; or a .jsonl.", callback=_at_home)
    ],
    other: Annotated[
        Path, typer.Option(help="Prompts without what the first have.", callback=_at_home)
    ],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.", callback=_at_home)],
    device: Device = "auto",
) -> None:
    """Find the direction of a language model's stream that tells two sets of prompts apart."""
    from ablate2tune.bake.bake_command import find

    find(model, one, other, out, Terminal(), device)


@app.command()
def bake(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|YAML", help="A folder, a hub name, a .gguf file; or all of it in a file."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The new folder.", callback=_at_home)] = None,
    ablate: Ablate = None,
    project_out: Annotated[
        str | None,
        typer.Option(metavar="FILE[:NAME]", help="A direction to take out of all writes."),
    ] = None,
    prune: Annotated[bool | None, typer.Option(help="Delete skipped layers.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
) -> None:
    """Write ablations into the weights of a language model or a pipeline: a stock checkpoint."""
    from ablate2tune.bake.bake_command import read_job
    from ablate2tune.bake.bake_command import run as write

    typed = {
        "ablate": ablate, "project_out": project_out, "prune": prune, "dtype": dtype,
        "device": device, "out": out,
    }  # fmt: skip
    write(read_job(model, {key: value for key, value in typed.items() if value}), Terminal())


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, runs/NAME.")],
    form: Annotated[
        str | None, typer.Option("--format", help="diffusers (the default), comfyui or kohya.")
    ] = None,
    merge: Annotated[bool, typer.Option(help="Put the adapter into the base's weights.")] = False,
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="TRAINER",
            help="Print the modules for ai-toolkit, sd-scripts, simpletuner, onetrainer or "
            "diffusers; nothing is written.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The new folder.", callback=_at_home)] = None,
) -> None:
    """Write a run's adapter for other tools, merge it, or print its modules for other trainers."""
    from ablate2tune.export.export_command import run as write

    write(run, form, merge, targets, out, Terminal())


@app.command()
def study(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Arms, budgets, seeds and axes of a recipe, with controls (also under `accelerate launch`)."""
    from ablate2tune.stage_running import is_main_process, run_stage
    from ablate2tune.study.stage import STAGE

    run_stage(STAGE, _recipe(recipe, overrides), Terminal(quiet=not is_main_process()))


@app.command()
def run(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """All four stages in order; a stage whose inputs have not changed is not run again."""
    from ablate2tune.stages import run_stages

    settings, terminal = _recipe(recipe, overrides), Terminal()
    run_stages(settings, terminal)
    seed = settings.seed + 1
    anew = [f"name={settings.name}-seed{seed}", f"seed={seed}"]
    anew += ["scenes.folder=null"] * (settings.scenes.folder is not None)  # scenes of its own
    short = [f"train.steps={-(-settings.train.steps // 6)}"]  # a study trains dozens of times
    terminal.say("next, for instance:")
    for why, command, more in (
        ("more pairs side by side", "compare", ["compare.grid_rows=48"]),
        ("the choice against random ones, briefly; its price is said first", "study", short),
        ("all of it again with other scenes, noise and draws", "run", anew),
    ):
        terminal.say(f"  {shlex.join(_typed(command, recipe, overrides, *more))}\n      {why}")


@testbed_app.command("build")
def testbed_build(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Make everything under checkpoints/ again, from nothing; resumes."""
    from ablate2tune.recipe import load_settings
    from ablate2tune.testbed.build import build_testbed
    from ablate2tune.testbed.testbed_recipe import TestbedRecipe

    settings, terminal = load_settings(TestbedRecipe, recipe, overrides or []), Terminal()
    build_testbed(settings, terminal.bar)
    judge = "" if settings.autoencoder else f", judge in {settings.judge_out}"
    terminal.say(f"testbed in {settings.out}{judge}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 our failure, 2 the user's error, 130 Ctrl-C."""
    # Libraries report what is normal here (no torchvision); their errors still come through.
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    # Read as torch is imported. Threads that wait would spin 300,000 times, and beside busy
    # processes take the time of the very threads that they wait for; sleeping at once costs too.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, standalone_mode=True)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"ablate2tune: {error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, StoppedError):
        print("ablate2tune: interrupted; the same command goes on from here", file=sys.stderr)
        code = 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            print(f"ablate2tune: failed: {one_line(error)} (--debug shows where)", file=sys.stderr)
        code = 1
    sys.exit(code)
