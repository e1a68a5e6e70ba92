"""What a language model is taught on: sequences of a corpus, or answers behind their prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ablate2tune.contrasts.contrast import SPLITS, TEST
from ablate2tune.disk.user_rows import UserRow, read_user_rows
from ablate2tune.errors import UserError
from ablate2tune.localize.text.sequences import sequences, token_rows
from ablate2tune.models import LanguageModel
from ablate2tune.train.step_plan import held_out

SECTION = "train"
MEND = 'write {"prompt": "...", "answer": " ..."} in each line (docs/language-models.md)'


class TextExample(NamedTuple):
    """A text as tokens, and which of them are learnt."""

    ids: list[int]
    start: int
    """The first token whose loss counts; those before it are read alone."""
    group: str
    """Examples of one group are taught or validated on together."""

    @property
    def scored(self) -> int:
        """Tokens whose losses count."""
        return len(self.ids) - self.start


class TextSplit(NamedTuple):
    """Training and validation examples."""

    train: list[TextExample]
    validation: list[TextExample]


def read_text(
    model: LanguageModel, path: Path, length: int, taught: bool = True
) -> list[TextExample]:
    """The examples of a file or folder.

    A `.jsonl` with a `prompt` in its first line gives a prompt and its answer a line, the answer
    behind it and the end of text behind that; foils and whatever else the lines hold for the probe
    `choice` are passed over. Where it says `split: test` of lines, these are what is measured, and
    never `taught`. Anything else is a corpus, cut into sequences of `length` tokens as for the
    probe `perplexity`.

    Raises:
        UserError: what reading raises; a line without an answer, of an unknown split or longer than
            `length` tokens.
    """
    rows = read_user_rows(path) if path.is_file() and path.suffix == ".jsonl" else []
    if rows and "prompt" in rows[0].values:
        tests = [row for row in rows if row.one_of("split", SPLITS) == TEST]
        wanted = [row for row in rows if row not in tests] if taught else tests or rows
        return [_answer(model, row, length) for row in wanted]
    found = sequences(model, path, length, SECTION)
    start = max(1, len(model.beginning))
    pairs = zip(found, token_rows(found), strict=True)
    return [TextExample(ids, start, example.cluster) for example, ids in pairs]


def _answer(model: LanguageModel, row: UserRow, length: int) -> TextExample:
    prompt, answer = row.text("prompt", MEND), row.text("answer", MEND)
    before, ids = model.encode(prompt), model.encode(prompt + answer)
    start = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), None)
    start = max(1, min(len(before), len(ids)) if start is None else start)
    if len(ids) <= start:
        raise UserError(
            f"the answer adds no token to the prompt {prompt!r}",
            where=row.where,
            mend="write answers as they follow the prompt, a space in front",
        )
    end = model.tokenizer.eos_token_id
    ids = ids if end is None else [*ids, int(end)]
    if len(ids) > length:
        raise UserError(
            f"prompt and answer are {len(ids)} tokens",
            where=row.where,
            mend=f"set train.length to as many (now {length}), or shorten them",
        )
    return TextExample(ids, start, str(row.values.get("group", row.where)))


def split_text(examples: Sequence[TextExample], validation: int) -> TextSplit:
    """Keep the last examples for validation; those of a group stay together.

    Whole groups are taken from the end until `validation` is reached.

    Raises:
        UserError: nothing is left to train on.
    """
    groups = [example.group for example in examples]
    split = TextSplit(*held_out(examples, groups, validation))
    if not split.train:
        raise UserError(
            f"{validation} of {len(examples)} examples leave none to train on",
            where="train.validation_images",
            mend="lower it, or give more text",
        )
    return split
