"""The card of an exported adapter: a README.md as model hubs read it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate2tune.compare.metrics import METRICS
from ablate2tune.export.exported_run import ARM, ExportedRun

GRID = "grid.png"


def card(run: ExportedRun, weights: str, kind: str, lowest: float) -> str:
    """The text.

    Args:
        run: what was trained.
        weights: the file's name, or "" for a merged pipeline.
        kind: the format's name, or "merged".
        lowest: the timestep below which the adapter is off; 0: there is none.
    """
    recipe, name = run.recipe, run.recipe.model.path
    hub = not Path(name).exists() and not Path(name).is_absolute()
    rows = [
        "---",
        *([f"base_model: {name}"] if hub else []),
        "library_name: diffusers",
        f"tags: [text-to-image, diffusers{', lora' * bool(weights)}]",
        "---",
        "",
        f"# {recipe.name}",
        "",
        *([f"![pictures before and after]({GRID})", ""] if run.grid else []),
        _what(run, weights, kind),
        "",
        *_when(run, lowest),
        *(_use(weights, lowest) if kind == "diffusers" else []),
        *_scores(run.scores),
        "## Adapted modules",
        "",
        *(f"- `{module}`, rank {run.targets['ranks'][module]}" for module in run.modules),
        "",
    ]
    return "\n".join(rows)


def _what(run: ExportedRun, weights: str, kind: str) -> str:
    held = f"`{weights}`, format {kind}, strength 1" if weights else "the adapter is in the weights"
    config, count = run.recipe.train, len(run.modules)
    counts = run.targets["parameters"]
    return (
        f"`{run.recipe.model.path}` tuned by ablate2tune at {run.recipe.model.width} x "
        f"{run.recipe.model.height} pixels for {config.steps} steps on {count} modules "
        f"(`train.targets: {config.targets}`), {counts['trainable']:,} parameters; {held}."
    )


def _when(run: ExportedRun, lowest: float) -> list[str]:
    if not lowest:
        return []
    return [
        f"It was taught at noise levels from {run.acts_above:g} up and is for the first steps of a "
        f"sampling alone: switch it off where the next step's timestep is below {lowest:.6g} (in "
        "ComfyUI by a LoRA hook with a keyframe). Left on, it spoils shapes and colours.",
        "",
    ]


def _use(weights: str, lowest: float) -> list[str]:
    load = f'pipe.load_lora_weights("FOLDER", weight_name="{weights}")'
    if not lowest:
        return ["```python", load, "```", ""]
    return [
        "```python",
        "def above(pipe, step, timestep, kwargs):",
        "    following = pipe.scheduler.timesteps[step + 1 :]",
        f"    if len(following) and following[0] < {lowest:.6g}:",
        "        pipe.disable_lora()",
        "    return kwargs",
        "",
        "",
        load,
        "pipe.enable_lora()  # before every picture",
        'pipe("A PROMPT", callback_on_step_end=above).images[0]',
        "```",
        "",
    ]


def _scores(scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None or ARM not in scores["arms"]:
        return ["Not compared with the base yet (`ablate2tune compare`).", ""]
    before, after = scores["arms"][scores["reference"]], scores["arms"][ARM]
    rows = [
        f"{scores['prompts']} prompts x {scores['seeds']}, % of pictures, "
        f"{scores['confidence']:.0%} intervals:",
        "",
        "| | before | after | difference |",
        "|---|---|---|---|",
    ]
    for key, change in scores["difference"][ARM].items():
        if key in METRICS:
            cells = (_cell(of.get(key)) for of in (before, after, {key: change}))
            rows.append(f"| {METRICS[key].title} | {' | '.join(cells)} |")
    return [*rows, ""]


def _cell(rate: Mapping[str, Any] | None) -> str:
    if rate is None or rate["value"] is None:
        return "-"
    value, low, high = (rate[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{100 * value:.0f}"
    return f"{100 * value:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
