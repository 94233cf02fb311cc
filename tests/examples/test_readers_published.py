"""Readers of published data sets, on rows in their schema: SHP, OASST1, UltraFeedback, UltraChat, HALOs', A-LoL's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.examples import load, load_with_report, to_demonstrations, to_lists, to_pairs
from heedful.examples.readers import READERS, RowError, detect
from heedful.examples.readers.reader import Asked, examples_of
from heedful.examples.readers.stack_exchange import plain
from heedful.examples.shape import Dropped
from heedful.tokens.turns import arrange
from heedful.types import Example, Message, Response, UserError
from tests.examples.makers import assistant, text, user, write_rows


def read(
    rows: Sequence[dict[str, Any]], reader: str, split: str = "train", seed: int = 0
) -> tuple[list[Example], Counter[str]]:
    """The Examples of some rows and the reasons for what was left out; the first row is recognised as the reader's."""
    assert detect(rows[0]).name == reader
    items = list(examples_of(READERS[reader], ((f"a:{n}", row) for n, row in enumerate(rows, 1)), Asked(split, seed)))
    dropped = Counter(item.reason for item in items if isinstance(item, Dropped))
    return [item for item in items if isinstance(item, Example)], dropped


# SHP


def shp(post: str, a: int, b: int, **more: Any) -> dict[str, Any]:
    return {
        "post_id": post,
        "domain": "askculinary_train",
        "history": f"Question of {post}",
        "human_ref_A": "first",
        "human_ref_B": "second",
        "labels": int(a > b),
        "score_A": a,
        "score_B": b,
        "score_ratio": max(a, b) / min(a, b),
        **more,
    }


def test_shp_by_hand() -> None:
    (one, other), dropped = read([shp("p", 10, 2), shp("q", 3, 9)], "shp")
    assert (one.prompt, one.better, one.id) == ([user("Question of p")], 0, "p")
    assert [response.reward for response in one.responses] == [10, 2]
    assert (other.better, other.responses[1].text) == (1, "second")
    assert not dropped


def test_shp_keeps_close_calls_for_evaluation_only() -> None:
    """Twice the votes is enough: 4 against 2 stays, 5 against 3 goes; evaluation takes all."""
    rows = [shp("p", 4, 2), shp("q", 5, 3)]
    examples, dropped = read(rows, "shp")
    assert [example.id for example in examples] == ["p"]
    assert dropped == {"the better comment has less than 2 times the other's votes": 1}
    assert len(read(rows, "shp", split="eval")[0]) == 2


def test_shp_draws_five_pairs_of_a_post_by_the_seed() -> None:
    rows = [shp("many", 100 + i, 2) for i in range(20)] + [shp("few", 100 + i, 2) for i in range(5)]

    def votes(seed: int) -> list[float | None]:
        examples, dropped = read(rows, "shp", seed=seed)
        assert Counter(example.id for example in examples) == {"many": 5, "few": 5}
        assert dropped == {"a post has more than 5 pairs": 15}
        return [example.responses[0].reward for example in examples if example.id == "many"]

    assert votes(0) == votes(0)
    assert votes(0) != votes(1)
    assert votes(0) == [e.responses[0].reward for e in read(rows[:20], "shp")[0]], "a post's draw is its own"
    assert len(read(rows, "shp", split="test")[0]) == 25


def test_the_split_and_the_seed_reach_the_reader(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_rows(tmp_path / f"{name}.jsonl", [shp("p", 5, 4)] + [shp("q", 90 + i, 1) for i in range(9)])
    assert len(load(str(tmp_path))) == 5
    assert len(load(str(tmp_path), split="eval")) == len(load(f"{tmp_path}#test")) == 10
    votes = [[e.responses[0].reward for e in load(str(tmp_path), seed=seed)] for seed in (3, 3, 4)]
    assert votes[0] == votes[1] != votes[2]


# OASST1


def message(name: str, parent: str | None, role: str, rank: int | None = None, lang: str = "en") -> dict[str, Any]:
    row = {"message_id": name, "parent_id": parent, "role": role, "text": name.upper(), "lang": lang, "rank": rank}
    return {**row, "message_tree_id": "t", "labels": {"name": ["quality"], "value": [0.5]}}


TREE = [
    message("q", None, "prompter"),
    message("a0", "q", "assistant", 0),
    message("a2", "q", "assistant", 2),
    message("a1", "q", "assistant", 1),
    message("q2", "a1", "prompter"),
    message("b0", "q2", "assistant", 0),
    message("b1", "q2", "assistant", 1),
    message("c", "q2", "assistant"),
]


def test_oasst_compares_each_answer_with_the_next_better() -> None:
    """Of three ranked answers a0 > a1 > a2 come two pairs, a1 against a0 and a2 against a1, whatever their order."""
    examples, dropped = read(TREE, "oasst")
    told = [(tuple(r.text for r in e.responses), [r.rank for r in e.responses]) for e in examples]
    assert told == [(("A1", "A2"), [2, 3]), (("A0", "A1"), [1, 2]), (("B0", "B1"), [1, 2])]
    assert examples[2].prompt == [user("Q"), assistant("A1"), user("Q2")]
    assert all(example.better == 0 for example in examples)
    assert all(response.reward is None for example in examples for response in example.responses)
    assert dropped == {"an answer that nobody ranked": 1}
    assert [e.responses[0].text for e in to_demonstrations(examples).examples] == ["A1", "A0", "B0"]


@given(st.permutations(TREE))
def test_oasst_pairs_do_not_depend_on_the_order_of_rows(rows: list[dict[str, Any]]) -> None:
    """Three and two ranked siblings give 2 + 1 pairs, each better answer one rank above the other."""
    items = examples_of(READERS["oasst"], [("a:1", row) for row in rows], Asked())
    pairs = [item for item in items if isinstance(item, Example)]
    assert {tuple(r.text for r in pair.responses) for pair in pairs} == {("A0", "A1"), ("A1", "A2"), ("B0", "B1")}
    assert all(pair.responses[1].rank == (pair.responses[0].rank or 0) + 1 for pair in pairs)


def test_oasst_of_one_language() -> None:
    rows = [*TREE, message("f", None, "prompter", lang="fr"), message("f1", "f", "assistant", 1, lang="fr")]
    assert read(rows, "oasst")[1]["its next better answer is not there"] == 1
    items = list(examples_of(READERS["oasst-en"], (("a:1", row) for row in rows), Asked()))
    assert Counter(item.reason for item in items if isinstance(item, Dropped)) == {
        "its language is not 'en'": 2,
        "an answer that nobody ranked": 1,
    }


def test_oasst_with_parts_missing() -> None:
    assert read(TREE[1:4], "oasst")[1] == {"a message before it is not there": 2}
    with pytest.raises(UserError, match=r"a:2: message 'x' answers itself"):
        read(
            [message("x", "x", "prompter"), message("y", "x", "assistant", 1), message("z", "x", "assistant", 0)],
            "oasst",
        )


def test_oasst_rows_alone_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="belong together"):
        READERS["oasst"].convert(TREE[0])
    path = write_rows(tmp_path / "trees.jsonl", TREE)
    examples, report = load_with_report(f"oasst-en::{path}")
    assert len(examples) == 3
    assert report.sources[0].rows == 8


# UltraFeedback, UltraChat

CHOSEN = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
REJECTED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]


def test_ultrafeedback_binarised() -> None:
    row = {"prompt": "Why?", "prompt_id": "x", "chosen": CHOSEN, "rejected": REJECTED, "messages": CHOSEN}
    (example,), _ = read([{**row, "score_chosen": 8.5, "score_rejected": 4}], "ultrafeedback")
    responses = [Response([assistant("So.")], reward=8.5), Response([assistant("No.")], reward=4.0)]
    assert example == Example([user("Why?")], responses, better=0, id="x", origin="a:1")


def test_ultrafeedback_armorm_has_the_extreme_scores() -> None:
    row = {"prompt": "Why?", "prompt_id": "x", "chosen": CHOSEN, "rejected": REJECTED}
    row |= {"all_generated_responses": ["No.", "So.", "Hm."], "all_rm_scores": [0.1, 0.9, 0.5]}
    (example,), _ = read([row], "ultrafeedback-armorm")
    assert [(r.text, r.reward) for r in example.responses] == [("So.", 0.9), ("No.", 0.1)]
    every = READERS["ultrafeedback-armorm-all"].convert(row)
    assert [(r.text, r.reward) for r in every.responses] == [("No.", 0.1), ("So.", 0.9), ("Hm.", 0.5)]
    ranked = to_lists([every], prefer="reward").examples[0]
    assert [response.rank for response in ranked.responses] == [3, 1, 2]
    with pytest.raises(RowError, match="3 'all_generated_responses' and 1 'all_rm_scores'"):
        READERS["ultrafeedback-armorm-all"].convert({**row, "all_rm_scores": [1]})


def test_a_readers_own_rows_may_not_belong_together(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(f"def mine():\n    yield {TREE[1]!r}\n")
    with pytest.raises(UserError, match="mine: row 1: rows of oasst belong together, and are read from files"):
        load("mine", readers=[f"{tmp_path / 'my.py'}:mine"])


def test_ultrachat_keeps_every_answer_trainable() -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    messages = [{"role": role, "content": content} for role, content in turns]
    (example,), _ = read([{"prompt": "a", "prompt_id": "x", "messages": messages}], "ultrachat")
    assert example.prompt == [user("a")]
    assert example.responses[0].messages == [assistant("b"), user("c"), assistant("d")]
    turns_trained = arrange(example, "all_assistant")
    assert not isinstance(turns_trained, str)
    assert turns_trained.trained == [[True, False, True]]


# HALOs' JSON

TURNS = [{"role": "user", "content": "Why?"}]


def answer(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


def test_halos_binary_feedback_gathers_the_outputs_of_a_prompt() -> None:
    rows = [
        {"type": "binary_feedback", "prompt_id": 0, "prompt": TURNS, "output": answer("b"), "label": 0, "reward": -1},
        {"type": "binary_feedback", "prompt_id": 1, "prompt": TURNS, "output": answer("x"), "label": 1, "reward": 2},
        {"type": "binary_feedback", "prompt_id": 0, "prompt": TURNS, "output": answer("a"), "label": 1, "reward": 1},
    ]
    examples, _ = read(rows, "halos")
    assert [[(r.text, r.desirable, r.reward) for r in e.responses] for e in examples] == [
        [("b", False, -1), ("a", True, 1)],
        [("x", True, 2)],
    ]


def test_halos_pairwise_feedback() -> None:
    row = {"type": "pairwise_feedback", "prompt_id": "p", "prompt": TURNS, "output_A": answer("a")}
    row |= {"output_B": answer("b"), "reward_A": 0.5, "reward_B": 0.75, "label": 0}
    (example,), _ = read([row], "halos")
    assert (example.better, [r.reward for r in example.responses], example.id) == (1, [0.5, 0.75], "p")
    (won,), _ = read([{**row, "label": 1}], "halos")
    assert won.better == 0


def test_halos_samples_and_scalar_feedback() -> None:
    sample = {"type": "sample", "prompt_id": 3, "dataset": "d_train", "generator": "m"}
    rows = [{**sample, "sample_id": i, "prompt": TURNS, "output": f"s{i}"} for i in range(3)]
    (example,), _ = read(rows, "halos")
    assert [(r.text, r.source, r.reward) for r in example.responses] == [(f"s{i}", "m", None) for i in range(3)]
    rated = {"type": "scalar_feedback", "prompt_id": 3, "prompt": TURNS}
    (example,), _ = read([{**rated, "output": answer(f"s{i}"), "reward": i} for i in range(3)], "halos")
    assert len(to_pairs([example], prefer="reward").examples) == 3
    (asked,), _ = read([{**sample, "sample_id": 0, "instruction": "Why?", "output": "So."}], "halos")
    assert asked.prompt == [user("Why?")]


def test_halos_rows_may_name_their_split() -> None:
    row = {"type": "scalar_feedback", "prompt_id": 3, "prompt": TURNS, "output": "a", "reward": 1}
    rows = [{**row, "split": "train"}, {**row, "prompt_id": 4, "split": "test"}]
    examples, dropped = read(rows, "halos")
    assert ([e.id for e in examples], dropped) == (["3"], {"it belongs to the split test": 1})
    assert [e.id for e in read(rows, "halos", split="eval")[0]] == ["4"]


# Stack Exchange


def test_stack_exchange_ranks_by_votes_and_drops_the_markup() -> None:
    answers = [
        {"answer_id": 1, "pm_score": 1, "selected": False, "text": "<p>Use <code>a &lt; b</code>.</p>"},
        {"answer_id": 2, "pm_score": 4, "selected": True, "text": "<p>So:</p><pre><code>if a:\n    b\n</code></pre>"},
        {"answer_id": 3, "pm_score": 1, "selected": False, "text": "no"},
    ]
    (example,), _ = read([{"qid": 7, "question": "<p>Why?</p><p>How?</p>", "answers": answers}], "stack-exchange")
    assert example.prompt == [user("Why?\n\nHow?")]
    assert [(r.text, r.reward, r.rank) for r in example.responses] == [
        ("Use `a < b`.", 1, 2),
        ("So:\n\n```\nif a:\n    b\n```", 4, 1),
        ("no", 1, 2),
    ]
    assert len(to_pairs([example]).examples) == 2, "equal votes are a tie"
    assert plain("a<br>b<ul><li>c</li></ul>") == "a\nb\n\nc"


# A-LoL's generation tasks and their published sources

END = "<|endoftext|>"


def test_a_line_of_a_dialogue_task() -> None:
    row = {
        "id": 5,
        "prompt_or_input_text": f"Knowledge: Tea is hot.{END}Hi{END}Hello{END}Tea?{END}",
        "references": f"Yes.{END}",
        "meta_data": {"score": 3},
        "reward_components": {"fluency": 0.5, "tfidf": 0.25, "final_reward": 0.75},
    }
    (example,), _ = read([row], "lol")
    system = Message("system", "Knowledge: Tea is hot.")
    assert example.prompt == [system, user("Hi"), assistant("Hello"), user("Tea?")]
    (response,) = example.responses
    assert (response.messages, response.reward) == ([assistant("Yes.")], 0.75)
    assert response.extra["reward_components"]["fluency"] == 0.5
    assert example.extra == {"meta_data": {"score": 3}}
    with pytest.raises(RowError, match="final_reward"):
        READERS["lol"].convert({**row, "reward_components": {"fluency": 1}})


def test_a_line_of_a_plain_task_and_atomic_tell_the_same() -> None:
    prompt = "<head> PersonX runs </head> <relation> xWant </relation> [GEN] "
    line = {
        "id": 0,
        "prompt_or_input_text": prompt,
        "references": "to rest",
        "reward_components": {"final_reward": 0.9},
    }
    row = {"head": " PersonX runs", "relation": "xWant", "tail": "to rest", "split": "val", "p_valid_model": 0.9}
    (one,), (other,) = read([line], "lol")[0], read([row], "atomic10x", split="eval")[0]
    assert one.prompt == other.prompt == [text(prompt)]
    assert one.responses[0].messages == other.responses[0].messages == [text("to rest")]
    assert one.responses[0].reward == other.responses[0].reward == 0.9
    assert read([row], "atomic10x")[1] == {"it belongs to the split val": 1}


def test_reddit_csv(tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    path.write_text('id,text,score,parent_text,parent_score\na,"Yes,\nreally",12,Why?,3\nb,,1,Why?,1\n')
    examples, report = load_with_report(str(path))
    assert report.sources[0].readers == ["reddit"]
    assert (examples[0].prompt, examples[0].responses[0].text) == ([user("Why?")], "Yes,\nreally")
    assert examples[0].extra == {"score": "12", "parent_score": "3"}
    assert report.sources[0].dropped == {"the comment or its parent has no text": 1}


def wizard(*turns: tuple[str, str, str | None]) -> dict[str, Any]:
    dialog = [{"speaker": who, "text": said} for who, said, _ in turns]
    for turn, (_, _, sentence) in zip(dialog, turns, strict=True):
        turn["checked_sentence"] = {} if sentence is None else {"tea_0": sentence}  # type: ignore[assignment]
    return {"chosen_topic": "Tea", "persona": "p", "wizard_eval": 5, "dialog": dialog, "chosen_topic_passage": []}


def test_wizard_of_wikipedia_gives_every_grounded_answer() -> None:
    row = wizard(
        ("0_Wizard", "Hello!", "Tea is a plant."),
        ("1_Apprentice", "Hi", None),
        ("0_Wizard", "I chat.", "no_passages_used"),
        ("1_Apprentice", "Tea?", None),
        ("0_Wizard", "Tea is hot. ", "Tea is served hot."),
    )
    (example,), dropped = read([row], "wizard-of-wikipedia")
    assert [(turn.role, turn.content) for turn in example.prompt] == [
        ("system", "Knowledge: Tea is served hot."),
        ("assistant", "Hello!"),
        ("user", "Hi"),
        ("assistant", "I chat."),
        ("user", "Tea?"),
    ]
    assert example.responses[0].messages == [assistant("Tea is hot.")]
    assert example.origin == "a:1, turn 4"
    assert dropped == {"the wizard speaks first": 1, "the wizard used no passage": 1}
    with pytest.raises(UserError, match=r"a:1: dialog\[0\] has the speaker '0_Expert'"):
        read([wizard(("0_Expert", "x", None))], "wizard-of-wikipedia")


def test_faithdial_nested_and_flat_tell_the_same(tmp_path: Path) -> None:
    said = {"history": ["Hi", "Hello", "Tea?"], "knowledge": "Tea is hot.", "response": "It is.", "BEGIN": ["x"]}
    nested, _ = read([{"dialog_idx": 4, "utterances": [said, {**said, "response": "Yes."}]}], "faithdial")
    flat, _ = read([{**said, "dialog_idx": 4}], "faithdial")
    assert nested[0] == flat[0]
    assert [e.responses[0].text for e in nested] == ["It is.", "Yes."]
    system = Message("system", "Knowledge: Tea is hot.")
    assert flat[0].prompt == [system, user("Hi"), assistant("Hello"), user("Tea?")]
    path = tmp_path / "train.json"
    path.write_text(json.dumps([{"dialog_idx": 4, "utterances": [said]}]))
    assert load(str(path))[0].extra == {"knowledge": "Tea is hot.", "BEGIN": ["x"]}
