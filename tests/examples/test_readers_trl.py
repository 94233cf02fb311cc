"""TRL's formats, standard and conversational, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from heedful.examples.readers import READERS, RowError, SkipRow, detect
from heedful.types import Example, Response
from tests.examples.makers import assistant, text, user

U = {"role": "user", "content": "What color?"}
A = {"role": "assistant", "content": "Blue."}
B = {"role": "assistant", "content": "Green."}


def read(row: dict[str, Any], expected_reader: str) -> Example:
    reader = detect(row)
    assert reader.name == expected_reader
    return reader.convert(row)


def test_language_modelling_standard() -> None:
    assert read({"text": "The sky"}, "language-modeling") == Example([], [Response([text("The sky")])])


def test_language_modelling_conversational_trains_from_the_first_answer() -> None:
    system = {"role": "system", "content": "Be brief."}
    example = read({"messages": [system, U, A, U, B]}, "language-modeling")
    assert [turn.role for turn in example.prompt] == ["system", "user"]
    assert example.responses == [Response([assistant("Blue."), user("What color?"), assistant("Green.")])]


def test_language_modelling_without_an_answer_is_skipped() -> None:
    with pytest.raises(SkipRow, match="without an assistant"):
        read({"messages": [U]}, "language-modeling")


def test_prompt_only() -> None:
    assert read({"prompt": "The sky is"}, "prompt-only") == Example([text("The sky is")], [])
    assert read({"prompt": [U]}, "prompt-only") == Example([user("What color?")], [])


def test_answers_in_an_unknown_column_are_not_read_as_mere_prompts() -> None:
    row = {"prompt": "p", "response": "r"}
    with pytest.raises(RowError, match="prompt-only: more than prompts: there is a column 'response'"):
        detect(row)
    assert READERS["prompt-only"].convert(row) == Example([text("p")], [], extra={"response": "r"})


def test_prompt_completion() -> None:
    standard = read({"prompt": "The sky is", "completion": " blue."}, "prompt-completion")
    assert standard == Example([text("The sky is")], [Response([text(" blue.")])])
    chat = read({"prompt": [U], "completion": [A], "reward": 1}, "prompt-completion")
    assert chat == Example([user("What color?")], [Response([assistant("Blue.")], reward=1.0)])


def test_a_plain_completion_of_a_conversation_is_an_assistants_turn() -> None:
    example = read({"prompt": [U], "completion": "Blue."}, "prompt-completion")
    assert example.responses[0].messages == [assistant("Blue.")]


def test_preference_with_an_explicit_prompt() -> None:
    standard = read({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}, "preference")
    assert standard == Example(
        [text("The sky is")], [Response([text(" blue.")]), Response([text(" green.")])], better=0
    )
    chat = read({"prompt": [U], "chosen": [A], "rejected": [B]}, "preference")
    assert chat == Example(
        [user("What color?")], [Response([assistant("Blue.")]), Response([assistant("Green.")])], better=0
    )


def test_preference_with_an_implicit_prompt() -> None:
    standard = read({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "preference")
    explicit = read({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}, "preference")
    assert standard == explicit
    chat = read({"chosen": [U, A], "rejected": [U, B]}, "preference")
    assert chat == read({"prompt": [U], "chosen": [A], "rejected": [B]}, "preference")


def test_answers_that_repeat_an_explicit_prompt() -> None:
    """As in UltraFeedback: whole dialogues beside their prompt, which must not be trained on twice."""
    explicit = read({"prompt": [U], "chosen": [A], "rejected": [B]}, "preference")
    assert read({"prompt": [U], "chosen": [U, A], "rejected": [U, B]}, "preference") == explicit
    with_text = read({"prompt": "What color?", "chosen": [U, A], "rejected": [U, B]}, "preference")
    assert (with_text.prompt, with_text.responses) == (explicit.prompt, explicit.responses)


def test_scores_margin_and_other_columns_of_a_preference() -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 7.5, "score_rejected": None, "margin": 2}
    example = read({**row, "id": 17, "annotator": "ann"}, "preference")
    assert [response.reward for response in example.responses] == [7.5, None]
    assert (example.margin, example.id, example.extra) == (2.0, "17", {"annotator": "ann"})


@pytest.mark.parametrize(
    ("label", "desirable"), [(True, True), (False, False), (1, True), (0, False), ("False", False), ("true", True)]
)
def test_unpaired(label: Any, desirable: bool) -> None:
    example = read({"prompt": "p", "completion": "c", "label": label}, "unpaired")
    assert example == Example([text("p")], [Response([text("c")], desirable=desirable)])


@pytest.mark.parametrize("label", [None, "", "maybe", 2])
def test_unpaired_without_a_verdict_is_malformed(label: Any) -> None:
    with pytest.raises(RowError, match="label"):
        read({"prompt": "p", "completion": "c", "label": label}, "unpaired")


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": None, "rejected": "b"},
        {"chosen": "a", "rejected": [A]},
        {"chosen": 3, "rejected": "b"},
        {"prompt": "p", "chosen": "a"},
    ],
)
def test_malformed_preferences(row: dict[str, Any]) -> None:
    with pytest.raises(RowError):
        READERS["preference"].convert(row)
