"""The public data beside the checkout, where it is present."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.examples import attach_mismatched, load_with_report, split_by_prompt, to_pairs, to_singles

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [pytest.mark.real_data, pytest.mark.skipif(not DATA.is_dir(), reason="no real data here")]


@pytest.mark.parametrize(
    ("file", "reader", "rows"),
    [
        ("hh_raw/harmless-base-test.jsonl.gz", "hh-raw", 2312),
        ("hh_scored/helpful_base.jsonl.gz", "hh-scored", 2354),
        ("hh_scored/harmless_base.jsonl.gz", "hh-scored", 2312),
        ("hh_scored/dev.jsonl.gz", "hh-scored", 280),
    ],
)
def test_every_row_is_a_pair(file: str, reader: str, rows: int) -> None:
    examples, report = load_with_report(str(DATA / file))
    assert report.sources[0].readers == [reader]
    assert len(examples) == report.sources[0].rows == rows
    for example in examples:
        assert example.prompt[0].role == example.prompt[-1].role == "user"
        assert len(example.responses) == 2
        for response in example.responses:
            roles = [message.role for message in (*example.prompt, *response.messages)]
            assert all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))
            assert roles[-1] == "assistant"


def test_raw_and_scored_tell_the_same_pairs() -> None:
    """The scored set was made of the raw one: the same prompts, the same choices."""
    raw, _ = load_with_report(str(DATA / "hh_raw/harmless-base-test.jsonl.gz"))
    scored, _ = load_with_report(str(DATA / "hh_scored/harmless_base.jsonl.gz"))

    def key(example) -> tuple[str, ...]:
        return tuple(turn.content.strip() for turn in example.prompt)

    known = {key(example): example for example in raw}
    shared = [(known[key(example)], example) for example in scored if key(example) in known]
    agree = sum(one.responses[0].text == other.responses[0].text.strip() for one, other in shared)
    assert len(shared) == 2216
    assert agree > 0.97 * len(shared)  # the scored release cuts some answers after their first paragraph


def test_shapes_of_the_scored_pairs() -> None:
    examples, _ = load_with_report(str(DATA / "hh_scored/helpful_base.jsonl.gz"))
    by_human, by_reward = to_pairs(examples), to_pairs(examples, prefer="reward")
    assert (len(by_human.examples), len(by_reward.examples), len(by_reward.dropped)) == (2354, 2352, 2)
    assert by_human.notes == ["pairs in which human verdict and reward disagree: 802 of 2,354 (prefer=human decides)"]
    train, held_out = split_by_prompt(examples, 0.1, 0)
    assert len(train) + len(held_out) == 2354
    singles = to_singles(train).then(attach_mismatched, 0)
    assert all(len(example.responses) == 3 for example in singles.examples)
