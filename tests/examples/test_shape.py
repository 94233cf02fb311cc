"""Shapes of the objectives' views: by hand, and what holds for any data."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples import Shaped, to_demonstrations, to_lists, to_pairs, to_singles
from heedful.types import Example, Response
from tests.examples.makers import assistant, examples, pair, single, user


def texts(example: Example) -> list[str]:
    return [response.text for response in example.responses]


def ranking(*ranks: int | None, **labels) -> Example:
    """Responses a, b, c ... with these ranks."""
    responses = [Response([assistant("abcdef"[i])], rank=rank) for i, rank in enumerate(ranks)]
    return Example([user("q")], responses, id="r", origin="r.jsonl:1", **labels)


def rewarded(*rewards: float | None, **labels) -> Example:
    responses = [Response([assistant("abcdef"[i])], reward=reward) for i, reward in enumerate(rewards)]
    return Example([user("q")], responses, origin="w.jsonl:1", **labels)


def reasons(shaped: Shaped) -> list[str]:
    return [dropped.reason for dropped in shaped.dropped]


# pairs


def test_the_chosen_response_comes_first_and_verdicts_follow_it() -> None:
    (example,) = to_pairs([pair("q", "a", "b", better=1, safer=0, strength=2.0, margin=0.5)]).examples
    assert texts(example) == ["b", "a"]
    assert (example.better, example.safer, example.strength, example.margin) == (0, 1, 2.0, 0.5)


def test_pairs_that_cannot_be() -> None:
    data = [
        single("one"),
        Example([user("none")], []),
        pair("unjudged", better=None),
        rewarded(1.0, 0.0),
        ranking(1, 1),
    ]
    shaped = to_pairs(data)
    assert shaped.examples == []
    assert reasons(shaped) == [
        "one response: nothing to compare",
        "no response: nothing to compare",
        "no human verdict",
        "no human verdict (prefer=reward would compare the rewards)",
        "a tie: no response is better",
    ]
    assert shaped.dropped[0].origin == "singles.jsonl:one"


def test_prefer_reward_turns_a_pair_round_and_counts_it() -> None:
    agree, disagree = rewarded(2.0, 1.0, better=0), rewarded(1.0, 2.0, better=0, strength=3.0, margin=1.0)
    human, reward = to_pairs([agree, disagree]), to_pairs([agree, disagree], prefer="reward")
    assert [texts(example) for example in human.examples] == [["a", "b"], ["a", "b"]]
    assert [texts(example) for example in reward.examples] == [["a", "b"], ["b", "a"]]
    assert (reward.examples[1].strength, reward.examples[1].margin) == (None, None)  # they spoke of the other order
    assert human.notes == ["pairs in which human verdict and reward disagree: 1 of 2 (prefer=human decides)"]
    assert reward.notes == ["pairs in which human verdict and reward disagree: 1 of 2 (prefer=reward decides)"]
    assert reasons(to_pairs([rewarded(1.0, 1.0)], prefer="reward")) == ["a tie: the responses have equal rewards"]
    assert reasons(to_pairs([rewarded(1.0, None)], prefer="reward")) == ["fewer than two responses have a reward"]


def test_a_ranking_gives_every_strictly_ordered_pair() -> None:
    shaped = to_pairs([ranking(2, 1, 2, None)])
    assert [texts(example) for example in shaped.examples] == [["b", "a"], ["b", "c"]]
    assert [example.id for example in shaped.examples] == ["r:1>0", "r:1>2"]
    assert len(to_pairs([ranking(3, 1, 2)]).examples) == 3


def test_other_verdicts_make_pairs_too() -> None:
    best_of_three = ranking(None, None, None, better=2)
    assert [texts(example) for example in to_pairs([best_of_three]).examples] == [["c", "a"], ["c", "b"]]
    thumbs = Example(
        [user("q")], [Response([assistant("a")], desirable=False), Response([assistant("b")], desirable=True)]
    )
    assert texts(to_pairs([thumbs]).examples[0]) == ["b", "a"]


def test_equal_answers_are_kept_for_the_data_check() -> None:
    assert len(to_pairs([pair("q", "same", "same")]).examples) == 1


# demonstrations


def test_demonstrations() -> None:
    data = [
        single("q", "only"),
        pair("q", "a", "b", better=1, margin=1.0),
        ranking(2, 3, 1),
        single("q", "bad", desirable=False),
    ]
    shaped = to_demonstrations([*data, Example([user("q")], []), pair("q", better=None)])
    assert [texts(example) for example in shaped.examples] == [["only"], ["b"], ["c"]]
    assert all(example.better is None and example.margin is None for example in shaped.examples)
    assert reasons(shaped) == ["its best response is judged undesirable", "no response", "no human verdict"]
    assert shaped.notes == ["comparisons whose best response became a demonstration: 2"]


def test_a_lone_judgement_among_several_responses_is_a_demonstration_only_if_it_is_desirable() -> None:
    liked = Example([user("q")], [Response([assistant("a")]), Response([assistant("b")], desirable=True)])
    assert texts(to_demonstrations([liked]).examples[0]) == ["b"]
    assert reasons(to_demonstrations([rewarded(None, 1.0)], prefer="reward")) == [
        "fewer than two responses have a reward"
    ]


def test_where_the_response_of_a_demonstration_begins() -> None:
    turns = [user("1"), assistant("2"), user("3"), assistant("4")]
    middle = Example(turns[:1], [Response(turns[1:])])
    late = Example(turns[:3], [Response(turns[3:])])
    for data in (middle, late):
        (last,) = to_demonstrations([data]).examples
        assert (last.prompt, last.responses[0].messages) == (turns[:3], turns[3:])


# singles


def test_a_pair_gives_one_desirable_and_one_undesirable_response_under_one_prompt() -> None:
    shaped = to_singles([pair("q", "a", "b", better=1)])
    (example,) = shaped.examples
    assert [(response.text, response.desirable) for response in example.responses] == [("a", False), ("b", True)]
    assert shaped.notes == ["comparisons that became desirable and undesirable responses: 1"]


def test_labels_of_their_own_count() -> None:
    data = [single("q", desirable=False), single("q"), Example([user("q")], [])]
    shaped = to_singles(data)
    assert [example.responses[0].desirable for example in shaped.examples] == [False]
    assert reasons(shaped) == ["not judged desirable or undesirable", "no response"]
    assert to_singles(data[:1], prefer="reward").examples[0].responses[0].desirable is False


def test_of_a_ranking_the_best_and_the_worst_are_singles() -> None:
    shaped = to_singles([ranking(2, 3, 1, safer=1)])
    (example,) = shaped.examples
    assert [(response.text, response.desirable) for response in example.responses] == [("b", False), ("c", True)]
    assert example.safer == 0  # the verdict follows its response
    assert reasons(shaped) == ["a response between the best and the worst of its ranking, or one nobody judged"]


# lists


def test_lists_have_dense_ranks() -> None:
    shaped = to_lists([ranking(5, 2, 2, None), pair("q", better=1), ranking(1, 1), single("q")])
    assert [[response.rank for response in example.responses] for example in shaped.examples] == [[2, 1, 1], [2, 1]]
    assert reasons(shaped) == ["a tie: no response is better", "fewer than two responses to rank"]
    (by_reward,) = to_lists([rewarded(0.5, 2.0, 0.5, 1.0)], prefer="reward").examples
    assert [response.rank for response in by_reward.responses] == [3, 1, 3, 2]


# laws

SHAPES = [to_pairs, to_demonstrations, to_singles, to_lists]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
@given(data=st.lists(examples(), max_size=4), prefer=st.sampled_from(["human", "reward"]))
def test_shapes_are_pure_and_account_for_every_example(shape, data: list[Example], prefer) -> None:
    before = copy.deepcopy(data)
    shaped = shape(data, prefer=prefer)
    assert data == before
    assert len(shaped.examples) + len(shaped.dropped) >= len(data)
    assert shape(data, prefer=prefer) == shaped
    again = shape(shaped.examples, prefer="human")
    if shape is not to_demonstrations or prefer == "human":
        assert [texts(example) for example in again.examples] == [texts(example) for example in shaped.examples]


@settings(max_examples=40)
@given(data=st.lists(examples(), max_size=4), prefer=st.sampled_from(["human", "reward"]))
def test_what_each_shape_promises(data: list[Example], prefer) -> None:
    for example in to_pairs(data, prefer=prefer).examples:
        assert (len(example.responses), example.better) == (2, 0)
        assert example.safer in (None, 0, 1)
    assert all(len(example.responses) == 1 for example in to_demonstrations(data, prefer=prefer).examples)
    for example in to_singles(data, prefer=prefer).examples:
        assert all(response.desirable is not None for response in example.responses)
    for example in to_lists(data, prefer=prefer).examples:
        ranks = {response.rank for response in example.responses}
        assert ranks == set(range(1, len(ranks) + 1))
        assert len(ranks) > 1


def test_then_keeps_what_was_dropped_and_noted_before() -> None:
    shaped = to_pairs([single("q"), rewarded(1.0, 2.0, better=0)]).then(to_demonstrations, prefer="reward")
    assert [texts(example) for example in shaped.examples] == [["b"]]
    assert reasons(shaped) == ["one response: nothing to compare"]
    assert len(shaped.notes) == 2
