"""A baked checkpoint on disk: stock files, a card, and how it was made; whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from transformers import AutoModelForCausalLM

from ablate2tune import __version__, files
from ablate2tune.ablation import Ablation
from ablate2tune.bake.baking import Baked, Comparison
from ablate2tune.bake.baking_pipelines import SIGMA
from ablate2tune.disk.identity import identity
from ablate2tune.disk.new_folder import new_folder
from ablate2tune.errors import UserError, reason
from ablate2tune.localize.sampling import run_once
from ablate2tune.models import Denoiser, LanguageModel, load_denoiser

NOTE = "ablate2tune_bake.json"
SCHEMA = "ablate2tune/bake/1"
SHARD = "4GB"


def write_checkpoint(
    baked: Baked,
    source: LanguageModel,
    ablations: Sequence[Ablation],
    out: Path,
    dtype: torch.dtype = torch.float32,
    direction: dict[str, Any] | None = None,
    shard: str = SHARD,
) -> dict[str, Any]:
    """Write a checkpoint that loads without this package, and compare what was read back.

    Args:
        baked: the model.
        source: what it was made from: its tokenizer is copied.
        ablations: what was baked.
        out: the folder, which must not exist.
        dtype: of the stored weights.
        direction: where a direction that was taken out came from.
        shard: largest size of one weight file.

    Returns:
        What `ablate2tune_bake.json` holds.

    Raises:
        UserError: the folder exists or cannot be written, or what was read back differs.
    """
    ids = torch.arange(min(24, source.vocabulary))[None]

    @torch.no_grad()
    def fill(folder: Path) -> bool:
        model = baked.model.to("cpu", dtype)
        model.save_pretrained(folder, max_shard_size=shard)
        source.tokenizer.save_pretrained(folder)
        wanted = model(input_ids=ids, use_cache=False).logits
        again: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return torch.equal(wanted, again.eval()(input_ids=ids, use_cache=False).logits)

    note = {
        **_note(source.config.path, baked.model, ablations, baked.comparison, dtype),
        "direction": direction,
        "deleted_layers": baked.deleted,
        "changed_parameters": baked.changed,
        "compared_on": "random tokens, in logits, float32, against the model with hooks",
        "direction_left": baked.comparison.direction_left,
    }
    _write_whole(out, fill, note)
    return note


def write_pipeline(
    denoiser: Denoiser,
    comparison: Comparison,
    changed: Sequence[str],
    ablations: Sequence[Ablation],
    out: Path,
) -> dict[str, Any]:
    """Write a pipeline whose denoiser holds ablations, and compare what was read back.

    Args:
        denoiser: with the weights as they are to be, in the dtype that is stored.
        comparison: with the denoiser under hooks.
        changed: names of its parameters that changed.
        ablations: what was baked.
        out: the folder, which must not exist.

    Returns:
        What `ablate2tune_bake.json` holds.

    Raises:
        UserError: as for `write_checkpoint`.
    """

    def fill(folder: Path) -> bool:
        denoiser.pipe.save_pretrained(folder)
        again = load_denoiser(denoiser.config.model_copy(update={"path": str(folder)}))
        return torch.equal(run_once(denoiser, SIGMA, 0), run_once(again, SIGMA, 0))

    dtype = next(denoiser.model.parameters()).dtype
    note = {
        **_note(denoiser.config.path, denoiser.pipe, ablations, comparison, dtype),
        "direction": None,
        "deleted_layers": [],
        "changed_parameters": list(changed),
        "compared_on": "noise, in the denoiser's prediction, against the model with hooks",
    }
    _write_whole(out, fill, note)
    return note


def _write_whole(out: Path, fill: Callable[[Path], bool], note: dict[str, Any]) -> None:
    """Write the files, a card and a note, whole or not at all.

    Args:
        out: must not exist.
        fill: writes the files, reads them back, and says whether they give the same to the bit.
        note: `ablate2tune_bake.json`.

    Raises:
        UserError: the folder exists or cannot be written, or what was read back differs.
    """
    with new_folder(out) as folder:
        try:
            same = fill(folder)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"cannot write it ({reason(error)})", where=str(out)) from error
        if not same:
            raise UserError(
                "what was read back from the disk gives something else",
                where=str(out),
                mend="report it: this architecture does not save what it holds",
            )
        files.write_json(folder / NOTE, note)
        files.write_text(folder / "README.md", _card(note))


def _note(
    path: str,
    written: Any,
    ablations: Sequence[Ablation],
    comparison: Comparison,
    dtype: torch.dtype,
) -> dict[str, Any]:
    library = diffusers if isinstance(written, diffusers.DiffusionPipeline) else transformers
    return {
        "schema": SCHEMA,
        "base": path,
        "base_identity": identity(path),
        "architecture": type(written).__name__,
        "library": library.__name__,
        "ablations": [{"address": a.address, "mode": a.mode} for a in ablations],
        "dtype": str(dtype).removeprefix("torch."),
        "max_difference": comparison.difference,
        "max_effect": comparison.effect,
        "versions": {
            "ablate2tune": __version__,
            "torch": torch.__version__,
            library.__name__: library.__version__,
        },
    }


def _card(note: dict[str, Any]) -> str:
    done = [f"- `{a['address']}`: {a['mode']}" for a in note["ablations"]]
    if note["direction"]:
        done.append(f"- a direction ({note['direction']['file']}) taken out of all writes")
    if note["deleted_layers"]:
        done.append(f"- layers deleted: {', '.join(note['deleted_layers'])}")
    return "\n".join(
        [
            "---",
            f"base_model: {note['base']}",
            f"library_name: {note['library']}",
            "tags: [ablation]",
            "---",
            "",
            f"# {Path(note['base']).name}, ablated",
            "",
            f"`{note['base']}` with ablations written into its weights; it loads with stock "
            f"{note['library']}.",
            "",
            *done,
            "",
            f"What it gives differs from what the model with hooks gives by at most "
            f"{note['max_difference']:.2g}, where the ablation changes it by "
            f"{note['max_effect']:.3g} ({note['compared_on']}). Made by ablate2tune "
            f"{note['versions']['ablate2tune']}; all of it is in `{NOTE}`.",
            "",
        ]
    )


def gguf_command(out: Path) -> str:
    """What converts the checkpoint for llama.cpp."""
    return f"python convert_hf_to_gguf.py {out} --outfile {out}.gguf --outtype f16"
