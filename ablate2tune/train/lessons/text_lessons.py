"""Texts as lessons for a causal language model: the loss of the next token.

The loss of a step is the mean over all scored tokens of its batch, however they fall into rows,
parts and processes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ablate2tune import files
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.models import LanguageModel
from ablate2tune.models.out_of_memory import within_memory
from ablate2tune.train import step_plan
from ablate2tune.train.adapter import trainable
from ablate2tune.train.lessons.lessons import VALIDATION_ROWS, Lessons
from ablate2tune.train.lessons.text_examples import TextExample, read_text, split_text
from ablate2tune.train.memory.checkpointing import covered_in
from ablate2tune.train.memory.memory_estimate import MemoryEstimate, device_memory, estimate_memory
from ablate2tune.train.optimizers.optimizer_kind import optimizer_of
from ablate2tune.train.row_dropout import dropping
from ablate2tune.train.train_config import TrainConfig

CONTINUED = 32
"""Tokens that the samples continue their prompts by, and of a corpus the tokens of a prompt."""


class TextLessons(Lessons):
    """Sequences of a corpus, or answers behind prompts; the last are for validation only."""

    def __init__(self, model: LanguageModel, text: Path):
        """Nothing is read yet.

        Args:
            model: what is taught.
            text: a file or folder, see `read_text`.
        """
        self._model = model
        self._text = text

    @property
    def studied(self) -> LanguageModel:
        """What is taught."""
        return self._model

    def open(self, config: TrainConfig, seed: int, accelerator: Accelerator, folder: Path) -> None:
        """Put the texts into tokens."""
        self._config, self._seed, self._accelerator = config, seed, accelerator
        self._folder, self._rows = folder, config.micro_batch or config.batch_size
        examples = read_text(self._model, self._text, config.length)
        self._split = split_text(examples, config.validation_images)
        self._data = files.content_hash([[e.ids, e.start, e.group] for e in examples])

    @property
    def data(self) -> str:
        """Hash of all tokens."""
        return self._data

    def _batch_at(self, step: int) -> list[TextExample]:
        train = self._split.train
        places = step_plan.examples_at(self._seed, step, self._config.batch_size, len(train))
        return [train[place] for place in places]

    def _loss(self, examples: Sequence[TextExample]) -> Tensor:
        """Summed over the scored tokens of some examples."""
        batch = TokenBatch.of([e.ids for e in examples], [e.start for e in examples], summed=True)
        return batch.losses(self._model).sum()

    def _mine(self, count: int) -> slice:
        index, processes = self._accelerator.process_index, self._accelerator.num_processes
        return slice(index * count // processes, (index + 1) * count // processes)

    def run(self, step: int) -> None:
        """The texts of a step."""
        self._loss(self._batch_at(step))

    def backward(self, step: int, optimizer: torch.optim.Optimizer) -> Tensor:
        """The mean loss of the batch's scored tokens, in nats; in as many parts as memory asks."""
        batch = self._batch_at(step)
        share = self._mine(len(batch))
        tokens, mine = sum(e.scored for e in batch), batch[share]
        drops = step_plan.drop_seeds(self._seed, step, self._config)[share]

        def run(rows: int) -> Tensor:
            self._rows = rows
            optimizer.zero_grad(set_to_none=True)  # what a part that did not fit has left
            total = torch.zeros((), device=self._model.device)
            for start in range(0, len(mine), rows):
                those = slice(start, start + rows)
                with dropping(self._model.model, drops[those]):
                    loss = self._loss(mine[those]) / tokens
                    loss.backward()
                total += loss.detach()
            return total

        return within_memory(run, self._rows, "train")

    @torch.no_grad()
    def forward(self, step: int) -> None:
        """The loss of the batch's texts, without gradients."""
        batch = self._batch_at(step)
        drops = step_plan.drop_seeds(self._seed, step, self._config)
        for start in range(0, len(batch), self._rows):
            those = slice(start, start + self._rows)
            with dropping(self._model.model, drops[those]):
                self._loss(batch[those])

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Nats per scored token of the held-out examples."""
        held, device = self._split.validation, self._model.device
        mine = held[self._mine(len(held))]
        total, rows = torch.zeros((), device=device), max(VALIDATION_ROWS, self._rows)
        for start in range(0, len(mine), rows):
            total += self._loss(mine[start : start + rows])
        summed: Tensor = self._accelerator.reduce(total, reduction="sum")  # pyright: ignore
        loss = float(summed) / sum(e.scored for e in held)
        return {"mean": loss, "as_trained": loss}

    def memory(self) -> MemoryEstimate:
        """What a step will hold, by a look at the longest example."""
        model = self._model.model
        longest = max(self._split.train, key=lambda e: len(e.ids))
        return estimate_memory(
            lambda: self._loss([longest]),
            [*model.parameters(), *model.buffers()],
            trainable(model).values(),
            self._config.at_once(self._accelerator.num_processes),
            optimizer_of(self._config).tensors,
            covered_in(model),
        )._replace(smaller="train.length")

    def look(self, rows: int) -> Tensor:
        """The loss of an example of middle length, so many times."""
        middle = sorted(self._split.train, key=lambda e: len(e.ids))[len(self._split.train) // 2]
        return self._loss([middle] * rows)

    @property
    def rows_each(self) -> float:
        """A text is a row."""
        return 1.0

    def costs(self, memory: MemoryEstimate) -> Iterator[str | None]:
        """Memory, and what is taught."""
        train = self._split.train
        yield str(memory)
        yield memory.warning(device_memory(self._model.device))
        taught, held = (sum(e.scored for e in part) for part in self._split)
        yield (
            f"text: {len(train):,} examples of {taught:,} tokens that count, "
            f"{len(self._split.validation):,} of {held:,} for validation"
        )

    def show(self, step: int) -> Path | None:
        """Greedy continuations of validation's prompts, or of the beginnings of its sequences."""
        told = []
        for example in self._split.validation[: self._config.sample_prompts]:
            end = example.start if example.start > 1 else CONTINUED
            first = len(self._model.beginning)
            end = min(max(end, first + 1), len(example.ids) - 1)
            prompt = self._model.tokenizer.decode(example.ids[first:end])
            (text,) = self._model.generate([prompt], CONTINUED)
            told.append(f"> {prompt}\n{text}\n")
        path = self._folder / "samples" / f"step-{step:06d}.txt"
        files.write_bytes(path, "\n".join(told).encode())
        return path
