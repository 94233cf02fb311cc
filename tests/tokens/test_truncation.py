from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples.shape import Dropped
from heedful.tokens.turns import drop_oldest
from heedful.types import Message, UserError
from tests.tokens.test_templates import answer, example, one, template, user, verbatim

DIALOGUE = [Message("system", "s"), user("first one"), answer("b"), user("second"), answer("d"), user("third")]


def test_whole_turns_are_left_out_oldest_first_and_the_system_message_stays():
    assert [m.content for m in drop_oldest(DIALOGUE) or []] == ["s", "second", "d", "third"]
    assert drop_oldest([DIALOGUE[0], DIALOGUE[-1]]) is None


@pytest.mark.parametrize("limit", range(20, 120, 7))
def test_what_is_kept_is_the_longest_end_of_the_dialogue_that_fits(limit):
    t = template("chatml")
    [result] = t.encode([example(DIALOGUE, answer("e"), answer("e e"))], max_length=limit)
    candidates = [DIALOGUE, [DIALOGUE[0], *DIALOGUE[3:]], [DIALOGUE[0], DIALOGUE[5]]]
    lengths = []
    for kept in candidates:
        full = one(t.encode([example(kept, answer("e"), answer("e e"))], max_length=1000))
        lengths.append(full.longest)
    fitting = [kept for kept, length in zip(candidates, lengths, strict=True) if length <= limit]
    if not fitting:
        assert isinstance(result, Dropped)
        assert "max_length" in result.reason
        return
    assert not isinstance(result, Dropped)
    assert result.prompt_ids.tolist() == t.encode_prompt(fitting[0])
    assert result.dropped_turns == candidates.index(fitting[0])
    assert all(response.ids[-1] in t.stop_ids for response in result.responses)


def test_prompts_for_sampling_are_shortened_the_same_way():
    t = template("chatml")
    full = len(t.encode_prompt(DIALOGUE))
    result = one(t.encode([example(DIALOGUE, answer("e"))], max_length=1000, max_prompt_length=full - 1))
    assert result.prompt_ids.tolist() == t.encode_prompt(DIALOGUE, max_prompt_length=full - 1)
    assert result.dropped_turns == 1
    with pytest.raises(UserError, match="last turn alone"):
        t.encode_prompt(DIALOGUE, max_prompt_length=5)


def test_all_assistant_turns_can_be_left_out_too():
    t = template("chatml")
    turns = [*DIALOGUE, answer("e")]
    full = one(t.encode([example([], turns)], train_on="all_assistant", max_length=1000))
    less = one(t.encode([example([], turns)], train_on="all_assistant", max_length=full.longest - 1))
    expected = one(t.encode([example([], [turns[0], *turns[3:]])], train_on="all_assistant", max_length=1000))
    assert less.prompt_ids.tolist() == expected.prompt_ids.tolist()
    assert less.responses[0].ids.tolist() == expected.responses[0].ids.tolist()
    assert less.responses[0].trained.tolist() == expected.responses[0].trained.tolist()
    assert less.dropped_turns == 1


def test_one_turn_that_is_too_long_drops_the_example():
    t = template("chatml")
    result = t.encode([example([user("a " * 50)], answer("b"))], max_length=1000, max_prompt_length=20)
    assert "last turn alone" in result[0].reason
    result = t.encode([example([user("a")], answer("b"), answer("b " * 50))], max_length=60)
    assert "answer does not fit" in result[0].reason


@settings(max_examples=60, deadline=None)
@given(prompt=st.text("ab é你", min_size=1, max_size=30), limit=st.integers(4, 30), adds_bos=st.booleans())
def test_verbatim_prompts_are_cut_from_the_left(prompt, limit, adds_bos):
    t = template("plain", adds_bos=adds_bos)
    whole = one(t.encode([example([verbatim(prompt)], verbatim(" b"))], max_length=1000))
    [result] = t.encode([example([verbatim(prompt)], verbatim(" b"))], max_length=limit)
    if isinstance(result, Dropped):
        assert len(whole.responses[0].ids) + adds_bos >= limit
        return
    assert result.longest <= limit
    assert result.responses[0].ids.tolist() == whole.responses[0].ids.tolist()
    kept = result.prompt_ids.tolist()[adds_bos:]
    assert kept == whole.prompt_ids.tolist()[len(whole.prompt_ids) - len(kept) :]
    assert kept or len(whole.prompt_ids) == 1
    assert result.cut_tokens == len(whole.prompt_ids) - len(result.prompt_ids)
    if result.cut_tokens and len(kept) > 1:
        assert not t.vocabulary.decode(kept).startswith("\ufffd")


def test_long_documents_become_chunks_and_lose_nothing():
    t = template("plain")
    text = "a b c d e f g h i j"
    whole = one(t.encode([example([], verbatim(text))], max_length=1000))
    chunks = t.encode([example([], verbatim("a")), example([], verbatim(text))], max_length=5)[1:]
    pieces = -(-len(whole.responses[0].ids) // 4)  # a first token, then four of the document
    assert [chunk.row for chunk in chunks] == [1] * pieces
    assert [(chunk.chunk, chunk.num_chunks) for chunk in chunks] == [(i, pieces) for i in range(pieces)]
    assert all(chunk.longest <= 5 for chunk in chunks)
    assert all(chunk.prompt_ids.tolist() == whole.prompt_ids.tolist() for chunk in chunks)
    ids = [index for chunk in chunks for index in chunk.responses[0].ids.tolist()]
    assert ids == whole.responses[0].ids.tolist()


@pytest.mark.parametrize(("length", "prompt"), [(1, None), (10, 10), (10, 0)])
def test_limits_that_leave_no_room(length, prompt):
    with pytest.raises(UserError, match="leave no room"):
        template("plain").encode([], max_length=length, max_prompt_length=prompt)
