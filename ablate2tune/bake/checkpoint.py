"""A baked checkpoint on disk: stock files, a card, and how it was made; whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from ablate2tune import __version__, files
from ablate2tune.ablation import Ablation
from ablate2tune.bake.baking import Baked
from ablate2tune.disk.identity import identity
from ablate2tune.errors import UserError, reason
from ablate2tune.models import LanguageModel

NOTE = "ablate2tune_bake.json"
SCHEMA = "ablate2tune/bake/1"
SHARD = "4GB"


def check_out(out: Path, model: str) -> None:
    """Refuse a folder that is there, before any work.

    Raises:
        UserError: it exists; also where it is the model's own.
    """
    if out.exists():
        raise UserError(
            "is there already, and nothing is written over it",
            where=f"--out {out}",
            mend="name a new folder" if not Path(model).exists() or out != Path(model) else
            "the source stays as it is: name a new folder",
        )  # fmt: skip


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

    Everything is written into a hidden folder beside `out`, which becomes `out` when it is whole.

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
    check_out(out, source.config.path)
    scratch = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run
    ids = torch.arange(min(24, source.vocabulary))[None]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            model = baked.model.to("cpu", dtype)
            model.save_pretrained(scratch, max_shard_size=shard)
            source.tokenizer.save_pretrained(scratch)
            wanted = model(input_ids=ids, use_cache=False).logits
            again: Any = AutoModelForCausalLM.from_pretrained(scratch, dtype=dtype)
            found = again.eval()(input_ids=ids, use_cache=False).logits
        if not torch.equal(wanted, found):
            raise UserError(
                "what was read back from the disk gives other logits "
                f"(by {float((wanted - found).abs().max()):.2g})",
                where=str(out),
                mend="report it: this architecture does not save what it holds",
            )
        note = _note(baked, source, ablations, dtype, direction)
        files.write_json(scratch / NOTE, note)
        files.write_text(scratch / "README.md", _card(note))
        os.replace(scratch, out)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise files.unwritable(out, error) from error
        raise UserError(f"cannot write it ({reason(error)})", where=str(out)) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(scratch, ignore_errors=True)
    return note


def _note(
    baked: Baked,
    source: LanguageModel,
    ablations: Sequence[Ablation],
    dtype: torch.dtype,
    direction: dict[str, Any] | None,
) -> dict[str, Any]:
    comparison = baked.comparison
    return {
        "schema": SCHEMA,
        "base": source.config.path,
        "base_identity": identity(source.config.path),
        "architecture": type(baked.model).__name__,
        "ablations": [{"address": a.address, "mode": a.mode} for a in ablations],
        "direction": direction,
        "deleted_layers": baked.deleted,
        "changed_parameters": baked.changed,
        "dtype": str(dtype).removeprefix("torch."),
        "compared_on": "random tokens, in logits, float32, against the model with hooks",
        "max_difference": comparison.difference,
        "max_effect": comparison.effect,
        "direction_left": comparison.direction_left,
        "versions": {
            "ablate2tune": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
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
            "library_name: transformers",
            "tags: [ablation]",
            "---",
            "",
            f"# {Path(note['base']).name}, ablated",
            "",
            f"`{note['base']}` with ablations written into its weights; it loads with stock "
            "transformers.",
            "",
            *done,
            "",
            f"Its logits differ from those of the model with hooks by at most "
            f"{note['max_difference']:.2g}, where the ablation changes them by "
            f"{note['max_effect']:.3g} ({note['compared_on']}). Made by ablate2tune "
            f"{note['versions']['ablate2tune']}; all of it is in `{NOTE}`.",
            "",
        ]
    )


def gguf_command(out: Path) -> str:
    """What converts the checkpoint for llama.cpp."""
    return f"python convert_hf_to_gguf.py {out} --outfile {out}.gguf --outtype f16"
