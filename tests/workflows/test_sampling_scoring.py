from __future__ import annotations

import json

import pytest
import torch

from heedful.examples import read_jsonl
from heedful.scorers import FILE_SCORERS, PATTERN_SCORERS, SCORERS, table
from heedful.types import RunError, UserError
from heedful.workflows.sampling import sample
from heedful.workflows.scoring import score
from tests.fakes import CHAT_TEMPLATE, save_tiny_model, tiny_tokenizer
from tests.scorers.tiny import LONG, save_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def policy(folder):
    return save_tiny_model(folder / "lm", tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE))


@pytest.fixture(scope="module")
def judge(folder):
    return save_tiny_model(folder / "rm", tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE), score=True)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def chat(question):
    return [{"role": "user", "content": question}]


def test_samples_are_a_file_of_ours_and_a_function_of_the_seed(tmp_path, policy):
    rows = [{"prompt": chat(q)} for q in ("How are you?", "What is it?", "How are you?")]
    data = write(tmp_path / "prompts.jsonl", rows)
    settings = {"samples_per_prompt": 3, "max_new_tokens": 6, "seed": 4}
    examples = read_jsonl(sample(str(policy), data, tmp_path / "a.jsonl", device="cpu", **settings))
    assert [(e.prompt[0].content, len(e.responses)) for e in examples] == [("How are you?", 3), ("What is it?", 3)]
    assert all(r.messages[0].role == "assistant" and r.source == str(policy) for e in examples for r in e.responses)
    again = read_jsonl(sample(str(policy), data, tmp_path / "b.jsonl", device="cpu", **settings))
    assert [[r.text for r in e.responses] for e in again] == [[r.text for r in e.responses] for e in examples]


def test_samples_can_be_scored_by_the_reward_model(tmp_path, policy, judge):
    data = write(tmp_path / "prompts.jsonl", [{"prompt": chat("How are you?")}, {"prompt": chat("Why?")}])
    samples = sample(str(policy), data, tmp_path / "s.jsonl", device="cpu", samples_per_prompt=2, max_new_tokens=5)
    scored = read_jsonl(score(str(judge), str(samples), tmp_path / "scores.jsonl", device="cpu"))
    rewards = [r.reward for e in scored for r in e.responses]
    assert len(rewards) == 4
    assert len({round(r, 4) for r in rewards}) > 1


def test_scores_are_those_of_the_plain_transformers_model(tmp_path, judge):
    from transformers import AutoModelForSequenceClassification

    from heedful.tokens import Template

    rows = [
        {"prompt": chat("How?"), "completion": [{"role": "assistant", "content": a}]} for a in ("Well.", "So so, no")
    ]
    examples = read_jsonl(score(str(judge), write(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl", device="cpu"))
    plain = AutoModelForSequenceClassification.from_pretrained(judge, num_labels=1).eval()
    template = Template.load(tiny_tokenizer(chat_template=CHAT_TEMPLATE))
    for example in examples:
        [encoded] = template.encode([example], max_length=64)
        ids = torch.tensor([[*encoded.prompt_ids.tolist(), *encoded.responses[0].ids.tolist()]])
        with torch.no_grad():
            assert example.responses[0].reward == pytest.approx(float(plain(input_ids=ids).logits), abs=1e-4)


def test_a_named_scorer_and_a_users_function(tmp_path):
    rows = [
        {"prompt": "def f():\n", "completion": body}
        for body in ("    return 1\n", "    x=1\n    return x\n", "    return (\n")
    ]
    data = write(tmp_path / "d.jsonl", rows)
    [tidy, untidy, broken] = [e.responses[0] for e in read_jsonl(score("pep8", data, tmp_path / "o.jsonl"))]
    assert tidy.reward == 0
    assert untidy.reward == pytest.approx(-100 / 21)
    assert untidy.extra["pep8"] == pytest.approx(100 / 21)
    assert broken.reward == -10
    (tmp_path / "mine.py").write_text("def size(prompts, responses):\n    return [len(r) for r in responses]\n")
    scored = read_jsonl(score(f"{tmp_path}/mine.py:size", data, tmp_path / "o.jsonl"))
    assert [e.responses[0].reward for e in scored] == [13, 21, 13]


def test_mistakes_are_sentences(tmp_path, policy):
    data = write(tmp_path / "d.jsonl", [{"text": "a document"}])
    with pytest.raises(UserError, match="no prompt to answer"):
        sample(str(policy), data, tmp_path / "o.jsonl", device="cpu")
    with pytest.raises(UserError):
        score(str(tmp_path / "nothing"), data, tmp_path / "o.jsonl")


def test_several_scorers_are_summed_and_each_is_kept(tmp_path, judge):
    data = write(tmp_path / "d.jsonl", [{"prompt": "def f():\n", "completion": "    x=1\n    return x\n"}])
    alone = [read_jsonl(score(name, data, tmp_path / "o.jsonl"))[0].responses[0] for name in ("pep8", str(judge))]
    [response] = read_jsonl(score(["pep8", "length", str(judge)], data, tmp_path / "o.jsonl"))[0].responses
    # pep8 is a count of violations, so it is subtracted: 21 characters less 100/21, and the reward model's logit.
    assert response.reward == pytest.approx(21 - 100 / 21 + alone[1].reward)
    assert alone[0].reward == pytest.approx(-100 / 21)
    assert {name: response.extra[name] for name in ("pep8", "length", "rm")} == pytest.approx(
        {"pep8": 100 / 21, "length": 21, "rm": alone[1].reward}
    )
    with pytest.raises(UserError, match="pep8 and pep8 would both be written as 'pep8'"):
        score(["pep8", "pep8"], data, tmp_path / "o.jsonl")


def test_what_was_cut_is_said(tmp_path):
    save_classifier(tmp_path / "cola", "roberta", 2)
    data = write(tmp_path / "d.jsonl", [{"prompt": "", "completion": c} for c in ("A fox.", LONG)])
    said: list[str] = []
    score(f"cola_fluency:{tmp_path / 'cola'}", data, tmp_path / "o.jsonl", device="cpu", echo=said.append)
    assert said[0] == "cola_fluency: 1 of 2 texts were longer than 510 tokens and lost their end"


def test_means_and_text_metrics_are_said_at_the_end(tmp_path):
    def lines(rows, *names):
        said: list[str] = []
        score(list(names), write(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl", echo=said.append)
        return said

    rows = [{"prompt": "Say", "completion": c} for c in ("a b", "a b a b")]
    # 3 and 7 characters; 2 different of 6 words, 2 of 4 bigrams, 2 of 2 trigrams.
    assert lines(rows, "length") == [
        "length: mean 5, from 3 to 7",
        "texts: distinct_1 0.333, distinct_2 0.5, distinct_3 1, words 3",
    ]
    known = [{"prompt": "Knowledge: the red fox<|endoftext|>Well?<|endoftext|>", "completion": "a red fox"}]
    # Two words of three are copied, as one fragment: coverage 2/3, density 4/3.
    assert lines(known, "length", "parses") == [
        "length: mean 9, from 9 to 9",
        "parses: mean 0, from 0 to 0",
        "reward: mean 9, from 9 to 9",
        "texts: distinct_1 1, distinct_2 1, distinct_3 1, words 3, coverage 0.667, coverage_std 0, density 1.33, "
        "density_std 0",
    ]


def test_the_table_lists_every_scorer():
    assert {row[0].partition(":")[0] for row in table()} == {*SCORERS, *PATTERN_SCORERS, *FILE_SCORERS}


class TestFailures:
    """`size` says how long a response is, and fails on some: its own way for one that says bad."""

    SIZE = "def size(prompts, responses):\n    return [len(r) / ('bad' not in r) for r in responses]\n"

    def scored(self, tmp_path, rows, *names, said=None):
        (tmp_path / "mine.py").write_text(self.SIZE)
        asked = [f"{tmp_path}/mine.py:size", *names]
        data, out = write(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl"
        return read_jsonl(score(asked, data, out, echo=([] if said is None else said).append))

    def test_a_response_that_cannot_be_scored_is_left_out_and_listed(self, tmp_path):
        said: list[str] = []
        rows = [{"prompt": "q", "completion": c} for c in ("fine", "a bad one", "so so")]
        found = self.scored(tmp_path, rows, "length", said=said)
        assert [(r.text, r.reward) for e in found for r in e.responses] == [("fine", 8.0), ("so so", 10.0)]
        [failed] = [json.loads(line) for line in (tmp_path / "o.jsonl.failed").read_text().splitlines()]
        reason = "the scorer raised ZeroDivisionError: division by zero"
        where = {"origin": f"{tmp_path / 'd.jsonl'}:2", "response": 0}
        assert failed == {**where, "scorer": "size", "reason": reason}
        assert f"size: 1 not scored: {reason}" in said
        self.scored(tmp_path, rows[:1])
        assert not (tmp_path / "o.jsonl.failed").exists()

    def test_a_verdict_for_the_one_that_is_gone_is_gone_too(self, tmp_path):
        pair = {"prompt": "q", "chosen": " bad", "rejected": " fine"}
        turned = {"prompt": "r", "chosen": " fine", "rejected": " bad"}
        first, second = self.scored(tmp_path, [pair, turned])
        assert (first.better, [r.text for r in first.responses]) == (None, [" fine"])
        assert (second.better, [r.text for r in second.responses]) == (None, [" fine"])

    def test_nothing_scored_is_no_success(self, tmp_path):
        with pytest.raises(RunError, match="not one response could be scored: the scorer raised ZeroDivisionError"):
            self.scored(tmp_path, [{"prompt": "q", "completion": "bad"}])
        assert not (tmp_path / "o.jsonl").exists()
        assert (tmp_path / "o.jsonl.failed").exists()
