"""What modes take from calibration examples, which are never measured: means, donors, directions.

Means are kept on disk under a hash of all that they depend on, one file per site, so that a second
run on the same model and scenes reads them instead of running the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ablate2tune.ablation import (
    MODES,
    Means,
    collect_means,
    learn_directions,
    load_directions,
    site_keys,
)
from ablate2tune.contrasts.contrast import Contrast, contrasts_hash
from ablate2tune.errors import UserError
from ablate2tune.files import content_hash, write_bytes
from ablate2tune.localize.margins.caption_losses import Levels, run_captions
from ablate2tune.localize.margins.encoded_examples import Examples, encode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.sweep_identity import PROBE
from ablate2tune.models import Denoiser, Studied

SCHEMA = "ablate2tune/means/3"


def check_mode(studied: Studied, mode: str) -> None:
    """Refuse means where they have no meaning.

    Raises:
        UserError: a mode that needs means, on a family whose tokens have no fixed positions.
    """
    if MODES[mode].needs & {"means", "spreads"} and studied.mean_obstacle:
        raise UserError(
            f"{studied.mean_obstacle}, so a mean per position has no meaning",
            where=f"localize.mode = {mode}",
            mend="set localize.mode=zero",
        )


def provide_directions(
    engine: Engine,
    conditions: Sequence[Condition],
    file: Path | None,
    learn: Callable[[Engine, Sequence[str]], dict[str, Tensor]],
) -> None:
    """Put the directions that conditions need into the engine: a file's, or learnt ones."""
    directed = [a for c in conditions if c.needs("directions") for a in c.addresses]
    missing = [a for a in dict.fromkeys(directed) if a not in engine.directions]
    if missing:
        engine.directions |= load_directions(file) if file else learn(engine, missing)


class Calibration:
    """Calibration scenes, encoded when they are first needed, and the means taken from them."""

    def __init__(
        self,
        denoiser: Denoiser,
        contrasts: Sequence[Contrast],
        levels: Levels,
        model: str,
        cache: Path | None,
        directions: Path | None = None,
    ):
        """Nothing is encoded or read yet.

        Args:
            denoiser: the model.
            contrasts: the calibration examples.
            levels: noise levels and seed; the means are of the first noise draw.
            model: from `identity.model_hash`.
            cache: folder of means from earlier runs; None keeps none.
            directions: file of directions; learnt from the scenes by default.
        """
        self._directions = directions
        self._denoiser, self._contrasts, self._levels = denoiser, list(contrasts), levels
        self._examples: Examples | None = None
        self._model, self._cache = model, cache

    @property
    def examples(self) -> Examples:
        """The calibration examples, encoded.

        Raises:
            UserError: there are none.
        """
        if not self._contrasts:
            raise UserError(
                "the calibration set is empty",
                where="localize.calibration_groups",
                mend="raise it, or set localize.mode=zero, which needs none",
            )
        if self._examples is None:
            self._examples = encode(self._denoiser, self._contrasts)
        return self._examples

    def prepare(self, engine: Engine, conditions: Sequence[Condition], write: bool) -> None:
        """Put what conditions need of calibration into the engine.

        Raises:
            UserError: as for `provide`, or the file of directions cannot be read.
        """
        averaged = [c for c in conditions if c.needs("means", "spreads")]
        spreads = any(c.needs("spreads") for c in averaged)
        self.provide(engine, [a for c in averaged for a in c.addresses], write, spreads)
        provide_directions(engine, conditions, self._directions, self._learn)

    def _learn(self, engine: Engine, addresses: Sequence[str]) -> dict[str, Tensor]:
        """Mean activations under the captions minus those under the target foils."""
        examples = self.examples
        under_foils = replace(examples, rows={**examples.rows, "true": examples.rows["target"]})

        def run(those: Examples) -> None:
            run_captions(self._denoiser, those, self._levels, lambda _: None)

        with engine.blocks.running():
            model = self._denoiser.model
            return learn_directions(
                model, addresses, lambda: run(examples), lambda: run(under_foils), unit=False
            )

    def provide(
        self, engine: Engine, addresses: Sequence[str], write: bool, spreads: bool = False
    ) -> int:
        """Put the means of components into the engine, those that it lacks.

        Args:
            engine: has the means, and runs the model where they are not on disk.
            addresses: components, or parts of them.
            write: whether this process keeps new means on disk.
            spreads: whether the spreads are wanted too.

        Returns:
            For how many of the addresses the model had to be run.

        Raises:
            UserError: there are no calibration examples, or a file of means is damaged.
        """
        model = self._denoiser.model

        def known(address: str) -> bool:
            there = engine.means.spread_sites if spreads else engine.means.sites
            return there >= set(site_keys(model, address))

        missing = [address for address in dict.fromkeys(addresses) if not known(address)]
        if missing and not self._contrasts:
            _ = self.examples  # raises
        run = [a for a in missing if not (self._read(engine.means, a) and known(a))]
        if run:
            collected = self._collect(engine, run, spreads)
            engine.means.update(collected)
            if write:
                self._write(collected)
        return len(run)

    def _collect(self, engine: Engine, addresses: Sequence[str], spreads: bool) -> Means:
        examples = self.examples

        def calibrate(means: Means) -> None:
            def on_sigma(index: int) -> None:
                means.sigma_index = index

            with engine.blocks.running():
                run_captions(self._denoiser, examples, self._levels, on_sigma)

        return collect_means(self._denoiser.model, addresses, calibrate, spreads)

    @property
    def _folder(self) -> Path | None:
        if self._cache is None:
            return None
        levels = self._levels
        key = content_hash(
            SCHEMA,
            PROBE,
            self._model,
            contrasts_hash(self._contrasts),
            list(levels.sigmas),
            levels.seed,
        )
        return self._cache / key

    def _read(self, means: Means, address: str) -> bool:
        """Take an address's means from the disk; False where any of its sites is not there."""
        folder = self._folder
        if folder is None:
            return False
        files = {key: _file(folder, key) for key in site_keys(self._denoiser.model, address)}
        if not all(file.exists() for file in files.values()):
            return False
        for key, file in files.items():
            try:
                means.load(key, load_file(file, device=str(self._denoiser.device)))
            except (SafetensorError, OSError, ValueError) as error:
                raise UserError(
                    f"damaged means ({error})", where=str(file), mend="delete the file"
                ) from error
        return True

    def _write(self, means: Means) -> None:
        folder = self._folder
        if folder is None:
            return
        for key in sorted(means.sites):
            write_bytes(_file(folder, key), save(means.state(key)))


def _file(folder: Path, site: str) -> Path:
    return folder / f"{site.replace(':', '-')}.safetensors"
