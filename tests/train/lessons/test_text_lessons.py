"""Language models that are taught: the loss by another route, resumption, PEFT, refusals."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from safetensors.torch import load_file
from tiny_language import tokens, words, write_language_model, write_text
from transformers import AutoModelForCausalLM

from ablate2tune.cli import main
from ablate2tune.errors import UserError
from ablate2tune.files import read_json, read_jsonl
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.train.lessons.text_examples import TextExample, read_text, split_text
from ablate2tune.train.lessons.text_lessons import TextLessons
from ablate2tune.train.step_plan import examples_at
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import TrainSummary, teach

TARGETS = ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"]
WEIGHTS = "adapter/adapter_model.safetensors"
CONFIG = TrainConfig(
    rank=2, steps=6, batch_size=4, learning_rate=0.01, warmup=1, length=11, validate_every=3,
    validation_images=4, sample_every=4, sample_prompts=2, checkpoint_every=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    write_language_model(folder / "model")
    write_text(folder / "text.txt", length=200)
    rows = [
        {
            "prompt": " ".join(words()[4 + n : 6 + n + n % 3]),
            "answer": f" w{n} w9",
            "foils": [" w1"],
        }
        for n in range(12)
    ]
    rows.append({"prompt": "w50", "answer": " w51", "split": "test"})
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def loaded(folder: Path) -> LanguageModel:
    return load_language_model(ModelConfig(path=str(folder / "model"), device="cpu"))


class Whole(NamedTuple):
    """An uninterrupted run."""

    lessons: TextLessons
    folder: Path
    summary: TrainSummary
    lines: list[str]


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out, lines = tmp_path_factory.mktemp("whole"), []
    lessons = TextLessons(loaded(folder), folder / "text.txt")
    summary = teach(lessons, TARGETS, CONFIG, 3, out, on_message=lines.append)
    return Whole(lessons, out, summary, lines)


def test_the_first_loss_is_that_of_transformers(whole: Whole, folder: Path):
    examples = read_text(loaded(folder), folder / "text.txt", CONFIG.length)
    train, held = split_text(examples, CONFIG.validation_images)
    assert len(held) == 4
    batch = torch.tensor([train[i].ids for i in examples_at(3, 1, 4, len(train))])
    stock = AutoModelForCausalLM.from_pretrained(folder / "model")
    rows = read_jsonl(whole.folder / "log.jsonl")
    assert rows[1]["loss"] == pytest.approx(stock(batch, labels=batch).loss.item(), rel=1e-5)
    ids = torch.tensor([example.ids for example in held])
    loss = stock(ids, labels=ids).loss.item()
    assert rows[0]["validation"]["mean"] == pytest.approx(loss, rel=1e-5)
    assert "text: 16 examples of 160 tokens that count, 4 of 40 for validation" in whole.lines


def test_peft_loads_what_was_trained(whole: Whole, folder: Path):
    base = AutoModelForCausalLM.from_pretrained(folder / "model")
    ids = tokens()
    with torch.no_grad():
        before = base(ids).logits
        after = PeftModel.from_pretrained(base, str(whole.folder / "adapter"))(ids).logits
    assert torch.allclose(after, whole.lessons.studied.logits(ids), atol=1e-5)
    assert (after - before).abs().max() > 1e-3
    note = read_json(whole.folder / "targets.json")
    assert sorted(note["injected"]) == sorted(TARGETS)
    samples = sorted(path.name for path in (whole.folder / "samples").iterdir())
    assert samples == [f"step-00000{n}.txt" for n in (0, 4, 6)]


def test_a_killed_run_ends_at_the_same_weights(whole: Whole, folder: Path, tmp_path: Path):
    class KilledError(Exception):
        pass

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KilledError

    def again(**more: Any) -> TrainSummary:
        lessons = TextLessons(loaded(folder), folder / "text.txt")
        return teach(lessons, TARGETS, CONFIG, 3, tmp_path, **more)

    with pytest.raises(KilledError):
        again(on_progress=stop)
    assert again().resumed_from == 2
    ours, theirs = (load_file(path / WEIGHTS) for path in (tmp_path, whole.folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_only_answers_count_however_a_batch_is_cut(folder: Path, tmp_path: Path):
    model = loaded(folder)
    lessons = TextLessons(model, folder / "answers.jsonl")
    lessons.open(CONFIG, 3, Accelerator(cpu=True), tmp_path)
    examples = read_text(model, folder / "answers.jsonl", CONFIG.length)
    assert len(examples) == 12  # the line of the split test is not taught
    train = split_text(examples, CONFIG.validation_images).train
    total = count = 0.0
    for place in examples_at(3, 1, CONFIG.batch_size, len(train)):
        ids, prompt = train[place].ids, train[place].start
        assert ids[-1] == model.tokenizer.eos_token_id
        logs = model.logits(torch.tensor([ids]))[0].log_softmax(-1)
        for at in range(prompt, len(ids)):
            total, count = total - logs[at - 1, ids[at]].item(), count + 1
        assert len(ids) - prompt == 3  # two words and the end
    embedding = model.model.get_input_embeddings().weight.requires_grad_()
    found = []
    for rows in (4, 1):
        lessons._rows = rows
        loss = lessons.backward(1, torch.optim.SGD([embedding], lr=0.1))
        assert loss.item() == pytest.approx(total / count, rel=1e-5)
        found.append(embedding.grad)
    assert torch.allclose(*found, atol=1e-6)


def test_groups_stay_together():
    rows = [TextExample([1, 2], 1, group) for group in "aabbcc"]
    train, held = split_text(rows, 3)
    assert ["".join(e.group for e in part) for part in (train, held)] == ["aa", "bbcc"]
    with pytest.raises(UserError, match="5 of 6 examples leave none"):
        split_text(rows, 5)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "w1 w2"}, "'answer' is missing"),
        ({"prompt": "w1 w2", "answer": " w3", "split": "tset"}, "split is 'tset'"),
        (
            {"prompt": "w1 w2", "answer": " " + "w3 " * 9},
            r"prompt and answer are 13 tokens; set train.length",
        ),
    ],
)
def test_lines_that_are_refused(whole: Whole, tmp_path: Path, row: dict, says: str):
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=rf"a\.jsonl:1: {says}"):
        read_text(whole.lessons.studied, tmp_path / "a.jsonl", 11)


def test_localized_then_trained_from_the_command_line(folder: Path, tmp_path: Path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"name: lm\nmodel: {{path: {folder}/model, device: cpu}}\nruns: {tmp_path}/runs\n"
        f"localize: {{probe: perplexity, mode: zero, bootstrap: 100, top_blocks: 2, perplexity: "
        f"{{text: {folder}/text.txt, length: 11, sequences: 8}}}}\n"
        f"train: {{text: {folder}/text.txt, length: 11, rank: 2, steps: 2, batch_size: 2, "
        "count: 3, if_no_skill: all, validation_images: 4}\n"
    )

    def run(command: str, *more: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([command, str(file), *more])
        return int(ended.value.code or 0)

    assert run("train") == 2
    assert "needs a ranking" in capsys.readouterr().err
    assert run("localize") == 0
    assert run("train") == 0
    said = capsys.readouterr().out
    assert "trainable params: " in said
    trained = tmp_path / "runs" / "lm" / "train"
    assert (trained / "adapter" / "adapter_config.json").exists()
    assert (trained / "map.png").exists()
    before = (trained / WEIGHTS).stat().st_mtime_ns
    assert run("train") == 0
    assert (trained / WEIGHTS).stat().st_mtime_ns == before
    for override, says in {
        "train.contrast=1": "train.contrast: says nothing of a language model",
        "train.text=null": "there is no text to train on",
        f"train.text={tmp_path}/none": "no such file or folder",
        "train.rank=99": "rank 99 is more than",
    }.items():
        assert run("train", override) == 2
        assert says in capsys.readouterr().err


def test_a_micro_batch_of_texts_and_a_module_that_is_named(
    whole: Whole, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, lines = [], []
    summed = TextLessons._loss

    def spy(self: TextLessons, examples: Any) -> torch.Tensor:
        sizes.append(len(examples))
        return summed(self, examples)

    lessons = TextLessons(loaded(folder), folder / "text.txt")
    parts = CONFIG.model_copy(update={"micro_batch": 3})

    def poison(done: int, total: int, note: str) -> None:
        if done == 2:
            monkeypatch.undo()
            query = "model.layers.1.self_attn.k_proj.weight"
            with torch.no_grad():
                lessons.studied.model.get_parameter(query).fill_(torch.nan)

    monkeypatch.setattr(TextLessons, "_loss", spy)
    told = (
        r"the loss is nan at step 3: the first .* is that of model\.layers\.1\.self_attn\.k_proj;"
    )
    with pytest.raises(UserError, match=told):
        teach(lessons, TARGETS, parts, 3, tmp_path, on_progress=poison, on_message=lines.append)
    assert sizes[-4:] == [3, 1, 3, 1]
    assert "activations 3 x" in next(line for line in lines if line.startswith("memory: "))
    rows, usual = read_jsonl(tmp_path / "log.jsonl"), read_jsonl(whole.folder / "log.jsonl")
    for step in (1, 2):
        assert rows[step]["loss"] == pytest.approx(usual[step]["loss"], rel=1e-5)
