"""Views that users write: what they may return, what is kept of it, and that a run takes it in its order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heedful.config import TrainConfig
from heedful.examples import load_view
from heedful.tokens.sampler import Sampler
from heedful.tokens.templates import Template
from heedful.training.data import prepare_data
from heedful.training.train import resolve_objective
from heedful.types import Example, UserError
from tests.end_to_end.runs import write_pairs
from tests.examples.makers import assistant, user
from tests.fakes import tiny_tokenizer
from tests.training.small_runs import broken_run, losses, rows, small_run

SOURCE = """
from heedful.examples import to_pairs

def backwards(examples):
    return to_pairs(examples).examples[::-1]

def long_first(examples):
    yield from sorted(examples, key=lambda example: -len(example.responses[0].text))

def one(examples):
    return examples[:1]

def none(examples):
    return []

def forgets(examples):
    examples.sort(key=len)

def rows(examples):
    return [examples[0], {"prompt": "p"}]

def breaks(examples):
    return [example.nothing for example in examples]

def hungry(examples, other):
    return examples
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "my_view.py").write_text(SOURCE)
    return str(tmp_path / "my_view.py")


def examples(num: int = 4) -> list[Example]:
    from heedful.types import Response

    return [
        Example([user(f"p{i}")], [Response([assistant("a" * (i % 3 + 1))]), Response([assistant("b")])], better=0)
        for i in range(num)
    ]


def prompts(shown: list[Example]) -> list[str]:
    return [example.prompt[0].content for example in shown]


def test_the_order_is_the_functions_and_lists_and_generators_do(file: str) -> None:
    assert prompts(load_view(f"{file}:backwards")(examples()).examples) == ["p3", "p2", "p1", "p0"]
    assert prompts(load_view(f"{file}:long_first")(examples()).examples) == ["p2", "p1", "p0", "p3"]
    assert load_view(f"{file}:one")(examples()).notes == [f"examples that the view {file}:one made of 4: 1"]
    assert prompts(load_view(None)(examples()).examples) == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"returned none of 4 examples, so nothing would be trained on"),
        ("forgets", r"failed: TypeError: .* \(line 17 of .*my_view\.py\)"),
        ("rows", r"must return Examples, and the 2\. it returned is a mapping"),
        ("breaks", r"failed: AttributeError: .*'nothing' \(line 23 of .*my_view\.py\)"),
        ("hungry", r"must take \(examples\), and takes \(examples, other\)"),
        ("backward", r"has no function 'backward'; did you mean backwards\?"),
    ],
)
def test_views_that_do_not_work(file: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_view(f"{file}:{name}")(examples())


def test_a_view_that_returns_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.py").write_text("def f(examples):\n    examples.reverse()\n")
    with pytest.raises(UserError, match=r"must return a list of Examples, and returned nothing \(null\)"):
        load_view(f"{tmp_path}/v.py:f")(examples())


def test_in_order_every_epoch_is_alike_and_any_step_can_be_sought() -> None:
    sampler = Sampler(np.ones(5, np.int64), batch_size=2, epochs=2, in_order=True)
    assert [sampler.batch(t).tolist() for t in (4, 0, 2, 1, 3)] == [[3, 4], [0, 1], [4, 0], [2, 3], [1, 2]]
    assert sampler.num_steps == 5


def config(tmp_path: Path, **settings: object) -> TrainConfig:
    data = write_pairs(tmp_path / "pairs.jsonl", 6)
    return TrainConfig(objective="dpo", model="m", data=str(data), **settings)  # type: ignore[arg-type]


def test_a_run_reads_its_data_through_the_view(file: str, tmp_path: Path) -> None:
    chosen = config(tmp_path, view=f"{file}:backwards")
    said: list[str] = []
    template = Template.load(tiny_tokenizer(), "chatml")
    data = prepare_data(chosen, resolve_objective(chosen), template, tmp_path / "cache", said.append)
    assert [data.train.origin(e).rpartition(":")[2] for e in range(6)] == ["6", "5", "4", "3", "2", "1"]
    assert any("made of 6: 6" in line for line in said)


def test_a_view_that_is_not_there_is_told_before_data_are_read(tmp_path: Path) -> None:
    chosen = config(tmp_path, view="nowhere.py:f").model_copy(update={"data": "no-such-file.jsonl"})
    template = Template.load(tiny_tokenizer(), "chatml")
    with pytest.raises(UserError, match=r"the view nowhere\.py:f: there is no file"):
        prepare_data(chosen, resolve_objective(chosen), template, tmp_path / "cache", print)


def test_a_view_and_a_sampling_are_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a view keeps its order; give one of them"):
        config(tmp_path, view=f"{file}:backwards", sampling="good_priority", batch_unit="responses")


def test_a_run_takes_the_view_in_its_order_and_resumes_by_seeking(file: str, tmp_path: Path) -> None:
    whole = small_run(tmp_path, "sft", "whole", view=f"{file}:one", steps=4, batch_size=1)
    assert len(set(losses(whole))) == 4  # one example, learnt by heart
    straight = small_run(tmp_path, "dpo", "straight", view=f"{file}:backwards")
    assert rows(broken_run(tmp_path, "dpo", "broken", view=f"{file}:backwards")) == rows(straight)
    assert rows(small_run(tmp_path, "dpo", "other", seed=0)) != rows(straight)
    again = small_run(tmp_path, "dpo", "again", view=f"{file}:backwards", seed=1)
    assert rows(again) == rows(straight)  # nothing is drawn
