"""HH, Safe-RLHF, Alpaca, documents and our own rows."""

from __future__ import annotations

from typing import Any

import pytest

from heedful.examples.readers import READERS, RowError, SkipRow, detect
from heedful.types import Example, Message, Response, Span
from tests.examples.makers import assistant, text, user


def read(row: dict[str, Any], expected_reader: str) -> Example:
    reader = detect(row)
    assert reader.name == expected_reader
    return reader.convert(row)


# HH raw


def test_hh_raw_by_hand() -> None:
    past = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?"
    row = {"chosen": past + "\n\nAssistant: Because.", "rejected": past + "\n\nAssistant: Dunno\n\nreally."}
    assert read(row, "hh-raw") == Example(
        [user("Hi"), assistant("Hello"), user("Why?")],
        [Response([assistant("Because.")]), Response([assistant("Dunno\n\nreally.")])],
        better=0,
    )


def test_hh_raw_that_parts_early_has_responses_of_several_turns() -> None:
    row = {
        "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "rejected": "\n\nHuman: a\n\nAssistant: B\n\nHuman: C\n\nAssistant: D",
    }
    example = read(row, "hh-raw")
    assert example.prompt == [user("a")]
    assert example.responses[1].messages == [assistant("B"), user("C"), assistant("D")]


def test_hh_raw_joins_consecutive_turns_of_a_speaker() -> None:
    row = {
        "chosen": "\n\nHuman: a\n\nAssistant: here's the key:\n\nAssistant:  O.k.",
        "rejected": "\n\nHuman: a\n\nAssistant: no",
    }
    assert read(row, "hh-raw").responses[0].messages == [assistant("here's the key:\n\nO.k.")]


def test_hh_raw_skips_what_is_no_pair() -> None:
    with pytest.raises(SkipRow, match="share no prompt"):
        read({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: x\n\nAssistant: b"}, "hh-raw")
    with pytest.raises(SkipRow, match="chosen dialogue ends with the human"):
        read(
            {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "rejected": "\n\nHuman: a\n\nAssistant: x"}, "hh-raw"
        )


def test_hh_raw_needs_speakers() -> None:
    with pytest.raises(RowError, match=r"'rejected' must begin with 'Human:'"):
        READERS["hh-raw"].convert({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "hello\n\nAssistant: b"})


# HH scored

SCORED = {
    "prefix": [["<|prompter|>q1", "<|assistant|>a1", "<|prompter|>q2", "<|assistant|>"]] * 2,
    "suffix": ["good", "bad"],
    "reward": [0.5, -1],
    "sft_index": 0,
    "meta": {"line_num": 3},
}


def test_hh_scored_by_hand() -> None:
    assert read(SCORED, "hh-scored") == Example(
        [user("q1"), assistant("a1"), user("q2")],
        [Response([assistant("good")], reward=0.5), Response([assistant("bad")], reward=-1.0)],
        better=0,
        extra={"meta": {"line_num": 3}},
    )


def test_hh_scored_the_humans_choice_is_sft_index_whatever_the_reward_says() -> None:
    assert read({**SCORED, "sft_index": 1}, "hh-scored").better == 1
    assert read({**SCORED, "reward": [-9, 9]}, "hh-scored").better == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suffix": ["only"]}, "one length"),
        ({"reward": ["x", 0]}, "a number"),
        ({"prefix": [["<|prompter|>q1"]] * 2}, "end with an empty"),
        ({"prefix": [["q1", "<|assistant|>"]] * 2}, "must begin with"),
        ({"sft_index": 2}, "'sft_index' is 2"),
        ({"suffix": "good"}, "must be a list"),
    ],
)
def test_hh_scored_malformed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=message):
        READERS["hh-scored"].convert({**SCORED, **change})


def test_hh_scored_different_prompts_are_skipped() -> None:
    with pytest.raises(SkipRow, match="different prompts"):
        read(
            {**SCORED, "prefix": [["<|prompter|>q", "<|assistant|>"], ["<|prompter|>r", "<|assistant|>"]]}, "hh-scored"
        )


# PKU-SafeRLHF

PKU = {
    "prompt": "How?",
    "prompt_source": "Alpaca3-70B",
    "response_0": "So.",
    "response_1": "No.",
    "response_0_source": "m0",
    "response_1_source": "m1",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_harm_category": {"Violence": True, "Privacy": False, "Drugs": True},
    "response_1_harm_category": {"Violence": False, "Privacy": False, "Drugs": False},
    "response_0_severity_level": 3,
    "response_1_severity_level": 0,
    "better_response_id": 0,
    "safer_response_id": 1,
    "response_0_sha256": "abc",
    "batch": 7,
}


def test_pku_safe_rlhf_keeps_every_label() -> None:
    first = Response(
        [assistant("So.")],
        safe=False,
        harm_categories=["Violence", "Drugs"],
        severity=3,
        source="m0",
        extra={"sha256": "abc"},
    )
    second = Response([assistant("No.")], safe=True, severity=0, source="m1")
    assert read(PKU, "safe-rlhf") == Example(
        [user("How?")], [first, second], better=0, safer=1, source="Alpaca3-70B", extra={"batch": 7}
    )


def test_pku_verdicts() -> None:
    assert read({**PKU, "better_response_id": -1}, "safe-rlhf").better is None
    assert read({**PKU, "safer_response_id": None}, "safe-rlhf").safer is None
    with pytest.raises(RowError, match="better_response_id"):
        read({**PKU, "better_response_id": 2}, "safe-rlhf")


# RawSample


def test_raw_sample_pair_over_a_dialogue() -> None:
    row = {"input": ["a", "b", "c"], "answer": "x", "other_answer": "y", "better": False, "safer": True,
           "is_safe": True, "is_other_safe": False}  # fmt: skip
    assert read(row, "raw-sample") == Example(
        [user("a"), assistant("b"), user("c")],
        [Response([assistant("x")], safe=True), Response([assistant("y")], safe=False)],
        better=1,
        safer=0,
    )


def test_raw_sample_demonstration_dialogue_and_prompt() -> None:
    assert read({"input": "a", "answer": "x"}, "raw-sample") == Example([user("a")], [Response([assistant("x")])])
    dialogue = read({"dialogue": ["a", "b", "c", "d"]}, "raw-sample")
    assert dialogue == Example([user("a")], [Response([assistant("b"), user("c"), assistant("d")])])
    assert read({"input": "a"}, "raw-sample") == Example([user("a")], [])


@pytest.mark.parametrize(
    ("row", "message"),
    [({"input": ["a", "b"]}, "odd"), ({"dialogue": ["a"]}, "even"), ({"input": 3}, "list of texts")],
)
def test_raw_sample_malformed(row: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=message):
        READERS["raw-sample"].convert(row)


# Alpaca, documents


def test_alpaca() -> None:
    plain = read({"instruction": "Add.", "input": "", "output": "3", "text": "Below is ..."}, "alpaca")
    assert plain == Example([user("Add.")], [Response([assistant("3")])], extra={"text": "Below is ..."})
    assert read({"instruction": "Add.", "input": "1 2", "output": "3"}, "alpaca").prompt == [user("Add. 1 2")]


def test_documents() -> None:
    assert read({"text": b"x = 1\n"}, "text") == Example([], [Response([text("x = 1\n")])])
    with pytest.raises(SkipRow, match="not UTF-8"):
        read({"text": b"\xff\xfe\x00"}, "text")
    with pytest.raises(SkipRow, match="empty"):
        read({"text": b" \n"}, "text")


# our own


def test_own_rows_keep_every_field_and_unknown_columns() -> None:
    row = {
        "prompt": [{"role": "user", "content": "q"}],
        "responses": [
            {"messages": [{"role": "assistant", "content": "a", "trained": False}], "rank": 1, "reward": 2, "cost": 0.5,
             "spans": [{"start": 0, "end": 1, "score": 0.25}], "colour": "red", "extra": {"k": 1}},
            {"messages": [], "rank": 2},
        ],
        "better": 0, "origin": "there.jsonl:4", "worker": "w1",
    }  # fmt: skip
    first = Response(
        [Message("assistant", "a", trained=False)],
        reward=2.0,
        cost=0.5,
        rank=1,
        spans=[Span(0, 1, 0.25)],
        extra={"colour": "red", "k": 1},
    )
    assert read(row, "heedful") == Example(
        [user("q")], [first, Response([], rank=2)], better=0, origin="there.jsonl:4", extra={"worker": "w1"}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"better": 2}, "'better' is 2, and there are 2 responses"),
        ({"better": 1}, "rank is 2, and another ranks 1"),
        ({"prompt": "q"}, "'prompt' must be a list of turns, not a text"),
        ({"responses": {}}, "'responses' must be a list"),
        ({"responses": [{"messages": [], "rank": 0}]}, "counts from 1"),
        ({"responses": [{"messages": [], "reward": "high"}]}, r"responses\[0\]: column 'reward' must be a number"),
        ({"responses": [{"messages": [], "severity": 1.5}]}, "whole number"),
        ({"responses": [{"messages": [], "spans": [{"start": 3, "end": 1, "score": 0}]}]}, "start"),
        ({"extra": [1]}, "'extra' must be a mapping"),
    ],
)
def test_own_malformed(change: dict[str, Any], message: str) -> None:
    good = {"prompt": [], "responses": [{"messages": [], "rank": 1}, {"messages": [], "rank": 2}]}
    with pytest.raises(RowError, match=message):
        READERS["heedful"].convert({**good, **change})


# detection


def test_when_nothing_fits_the_error_says_why_each_reader_declined() -> None:
    with pytest.raises(RowError) as caught:
        detect({"question": "a", "chosen": "b"})
    message = str(caught.value)
    assert message.startswith("no reader reads the columns question, chosen; tried")
    assert "preference: no column 'rejected'" in message
    assert "alpaca: no columns 'instruction', 'output'" in message
    assert all(name in message for name in READERS)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": [{"role": ["user"], "content": "a"}], "completion": "b"}, "prompt.0. has the role"),
        ({"prompt": "a", "completion": "b", "reward": 10**400}, "'reward' must be a number"),
        ({"instruction": "a", "input": ["b"], "output": "c"}, "'input' must be a text"),
        ({"prompt": [], "responses": [{"messages": [], "spans": 5}]}, "responses.0.: column 'spans' must be a list"),
        ({"prompt": [], "responses": [{"messages": [], "harm_categories": 5}]}, "'harm_categories' must be a list"),
    ],
)
def test_a_cell_of_the_wrong_kind_is_a_malformed_row(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RowError, match=sentence):
        detect(row).convert(row)
