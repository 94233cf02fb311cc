"""Answers at every evaluation: the same after a resume, and without a trace in training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from heedful.config import TrainConfig
from heedful.models import load_policy
from heedful.rollouts import in_order, sample
from heedful.tokens import Template
from heedful.tokens.store import TokenStore
from heedful.training.samples import TrainedPrompts
from heedful.types import Example, Message, Response, UserError
from tests.end_to_end.runs import assert_same_bits, environment
from tests.fakes import CHAT_TEMPLATE, tiny_tokenizer
from tests.training.small_runs import broken_run, rows, small_config, small_run

ASKED = {"eval_fraction": 0.25, "eval_every": 2, "eval_samples": 3}


def samples(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples")
    small_run(path, "sft", "sampled", **ASKED)
    return path


def test_the_first_prompts_are_answered_at_every_evaluation(place: Path) -> None:
    found = samples(place / "sampled")
    assert [row["step"] for row in found] == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    assert all(row.keys() == {"step", "prompt", "answer", "finished"} for row in found)
    prompts = [row["prompt"] for row in found]
    assert len(set(prompts[:3])) == 3
    assert prompts[:3] == prompts[3:6] == prompts[6:]
    assert all("Tell me about the" in prompt for prompt in prompts)


def test_answers_are_what_the_saved_model_gives(place: Path) -> None:
    """From the checkpoint of step 2: same prompts by their messages, same seed, other code around it."""
    loaded = load_policy(str(place / "sampled" / "checkpoints" / "step-2"))
    template = Template.load(loaded.tokenizer)
    found = [row for row in samples(place / "sampled") if row["step"] == 2]
    texts = [row["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:") for row in found]
    asked = [[Message("user", text)] for text in texts]
    for row, rollout in zip(found, in_order(sample(loaded.model, template, asked, max_new_tokens=128)), strict=True):
        before = template.vocabulary.decode(rollout.prompt_ids)
        whole = template.vocabulary.decode([i for i in rollout.prompt_ids + rollout.response_ids if i])  # 0 is EOS
        assert row["prompt"] == before
        assert row["prompt"] + row["answer"] == whole
        assert row["finished"] == rollout.finished


def test_training_does_not_notice(place: Path) -> None:
    plain = small_run(place, "sft", "unsampled", **ASKED | {"eval_samples": 0})
    assert not (plain / "samples.jsonl").exists()
    assert_same_bits(place / "sampled", plain)


def test_a_resumed_run_writes_the_same_samples(place: Path) -> None:
    again = broken_run(place, "sft", "broken", **ASKED)
    assert (again / "samples.jsonl").read_bytes() == (place / "sampled" / "samples.jsonl").read_bytes()
    assert rows(again) == rows(place / "sampled")


def test_prompts_are_distinct_and_their_headers_are_read(tmp_path: Path) -> None:
    """With a header that ends in a newline, the newline is the answer's first token: nothing of the text is lost."""
    template = Template.load(tiny_tokenizer(chat_template=CHAT_TEMPLATE))
    examples = [
        Example([Message("user", word)], [_answer(f"About {word}.")]) for word in ("Cats?", "Cats?", "Dogs?", "Eggs?")
    ]
    encoded: list[Any] = template.encode(examples, max_length=64)
    for row, example in enumerate(encoded):
        example.row = row
    store = TokenStore.write(tmp_path / "store", encoded, examples)
    prompts = TrainedPrompts(template, store, 2)
    assert [text.count("Cats?") for text in prompts.ids_of] == [1, 0]
    assert list(prompts.ids_of.values()) == [store.prompt_tokens(row).tolist() for row in (0, 2)]
    for row, text in zip((0, 2), prompts.ids_of, strict=True):
        answer = prompts.decode_response(store.response_tokens(row).tolist(), [Message("text", text)])
        whole = template.render([*examples[row].prompt, *examples[row].responses[0].messages])
        assert (text + answer) == whole[: whole.index("<|end|>")]


def _answer(text: str) -> Response:
    return Response([Message("assistant", text)])


def test_what_cannot_take_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="eval_samples needs an evaluation set"):
        small_config(tmp_path, "sft", "run", eval_samples=2)
    with pytest.raises(ValidationError, match="engine=fsdp2 shards it"):
        small_config(tmp_path, "sft", "run", **ASKED, engine="fsdp2")
    with pytest.raises(UserError, match="eval_samples=3: reward trains a model that gives scores"):
        small_run(tmp_path, "reward", "run", **ASKED)
    assert not (tmp_path / "run").exists()
    assert TrainConfig.model_fields["eval_samples"].default == 0


@pytest.mark.slow
@pytest.mark.processes
def test_two_processes_write_the_samples_of_one(place: Path) -> None:
    """Only the main one does, and the other waits: at step 0 both worlds have the same weights."""
    words = ["train", "sft", "model=model", "data=pairs.jsonl", "out=two", "steps=2", "batch_size=4", "threads=1"]
    words += ["max_length=128", "tokens_per_pack=400", "lr=1e-3", *(f"{key}={value}" for key, value in ASKED.items())]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "heedful", *words],
        env=environment(place),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (samples(place / name) for name in ("sampled", "two"))
    assert two[:3] == one[:3]
    assert [row["step"] for row in two] == [0, 0, 0, 2, 2, 2]
