"""Turns and common prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.examples.conversation import (
    RowError,
    SkipRow,
    merge_same_speaker,
    split_dialogues,
    split_texts,
    to_messages,
)
from heedful.types import Message
from tests.examples.makers import assistant, text, user


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("The sky is blue.", "The sky is green.", ("The sky is", " blue.", " green.")),
        ("The sky is blue", "The sky is blueish", ("The sky is", " blue", " blueish")),
        ("The sky is blue", "The sky is blue today", ("The sky is", " blue", " blue today")),
        ("Title\nfoo", "Title\nbar", ("Title\n", "foo", "bar")),
        ("foo bar", "foo, bar", ("", "foo bar", "foo, bar")),
        ("a", "b", ("", "a", "b")),
        ("same words", "same words", ("same", " words", " words")),
        ("", "x", ("", "", "x")),
        # the answers begin alike: the last mark of an answer is where they begin, not the last common word
        ("Q: 1?\nA: It is 2", "Q: 1?\nA: It is 3", ("Q: 1?\nA:", " It is 2", " It is 3")),
        ("USER: hi ASSISTANT: I am x", "USER: hi ASSISTANT: I am y", ("USER: hi ASSISTANT:", " I am x", " I am y")),
        ("USER: hi ASSISTANT:", "USER: hi ASSISTANT: y", ("USER: hi", " ASSISTANT:", " ASSISTANT: y")),
    ],
)
def test_split_texts_by_hand(first: str, second: str, expected: tuple[str, str, str]) -> None:
    assert split_texts(first, second) == expected


@given(st.text("ab \n", max_size=12), st.text("ab \n", max_size=12))
def test_split_texts_gives_both_texts_back(first: str, second: str) -> None:
    prompt, one, other = split_texts(first, second)
    assert (prompt + one, prompt + other) == (first, second)
    assert bool(one) == bool(first)
    assert bool(other) == bool(second)
    assert split_texts(second, first) == (prompt, other, one)


def test_dialogues_that_differ_in_the_last_answer() -> None:
    past = [user("a"), assistant("b"), user("c")]
    assert split_dialogues([*past, assistant("x")], [*past, assistant("y")]) == (
        past,
        [assistant("x")],
        [assistant("y")],
    )


def test_dialogues_that_part_earlier_keep_several_turns_in_the_response() -> None:
    first = [user("a"), assistant("b"), user("c"), assistant("d")]
    second = [user("a"), assistant("b"), user("C"), assistant("D")]
    assert split_dialogues(first, second) == ([user("a")], first[1:], second[1:])


def test_equal_dialogues_leave_the_last_answer_to_the_response() -> None:
    both = [user("a"), assistant("b"), user("c"), assistant("d")]
    assert split_dialogues(both, list(both)) == (both[:3], both[3:], both[3:])


def test_a_dialogue_that_is_a_beginning_of_the_other() -> None:
    long = [user("a"), assistant("b"), user("c"), assistant("d")]
    assert split_dialogues(long[:2], long) == ([user("a")], long[1:2], long[1:])


def test_dialogues_without_a_common_prompt_are_skipped() -> None:
    with pytest.raises(SkipRow, match="share no prompt"):
        split_dialogues([user("a"), assistant("b")], [user("A"), assistant("b")])


def test_turns_of_other_tools() -> None:
    shared_gpt = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    assert to_messages(shared_gpt, "conversations") == [user("a"), assistant("b")]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert to_messages(parts, "messages") == [user("ab")]
    assert to_messages("plain", "prompt") == [text("plain")]
    untrained = [{"role": "assistant", "content": "a", "weight": 0}]
    assert to_messages(untrained, "messages") == [Message("assistant", "a", trained=False)]


@pytest.mark.parametrize(
    ("turn", "kind", "message"),
    [
        ({"role": "wizard", "content": "a"}, RowError, "'wizard'"),
        ({"role": "user", "content": None}, RowError, "null"),
        ({"role": "user"}, RowError, "content"),
        ("hello", RowError, "a text"),
        ({"role": "assistant", "content": "", "tool_calls": [{}]}, SkipRow, "tool"),
        ({"role": "user", "content": [{"type": "image"}]}, SkipRow, "image"),
    ],
)
def test_turns_that_are_none(turn: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        to_messages([turn], "messages")


def test_consecutive_turns_of_one_speaker_become_one() -> None:
    assert merge_same_speaker([user("a"), assistant("b"), assistant("c")]) == [user("a"), assistant("b\n\nc")]
