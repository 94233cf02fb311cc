"""Whole runs on scored documents: every objective, killed and continued, filtered, skipped, watched."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from heedful.examples.shape import Dropped
from heedful.models import load_tokenizer
from heedful.rollouts.watch import WatchResult
from heedful.tokens.store import TokenStore
from heedful.training import train
from heedful.training.documents import kept_documents
from heedful.types import TEXT, Example, Message, Response, Span, UserError
from tests.end_to_end.runs import bits
from tests.training.small_runs import broken_run, rows, small_config, small_run, steps

OBJECTIVES: list[tuple[str, dict[str, Any]]] = [
    ("mle", {}),
    ("filtering", {"quantile": 0.5}),
    ("conditional", {"drop_token_fraction": 0.1}),
    ("unlikelihood", {"threshold": 0.3}),
    ("awr", {"beta": 0.5}),
    ("awr", {"normalize_advantages": True}),
    ("rwr", {"beta": 0.5}),
]
NUM = 24


def write_documents(path: Path, *, scored: bool = True) -> Path:
    """Documents of one to four lines; document i has the score i/NUM, and its lines half, once and twice that."""
    with path.open("w") as file:
        for i in range(NUM):
            lines = [f"def f{i}_{k}(a, b):\n    return a + {i * k}\n" for k in range(1 + i % 4)]
            spans, start = [], 0
            for k, line in enumerate(lines):
                spans.append({"start": start, "end": start + len(line), "score": (0.5, 1.0, 2.0)[k % 3] * i / NUM})
                start += len(line)
            labels = {"cost": i / NUM, "spans": spans} if scored else {}
            response = {"messages": [{"role": "text", "content": "".join(lines)}], **labels}
            file.write(json.dumps({"prompt": [], "responses": [response], "id": f"d{i}"}) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder / "documents.jsonl")
    write_documents(folder / "unscored.jsonl", scored=False)
    return folder


def settings(place: Path, **changed: Any) -> dict[str, Any]:
    return {"data": str(place / "documents.jsonl"), "max_length": 32, "batch_size": 4, **changed}


@pytest.mark.parametrize(("name", "own"), OBJECTIVES)
def test_a_broken_run_ends_with_the_same_bits(place, name, own):
    objective, folder = {"name": name, **own}, "-".join([name, *own])
    whole = small_run(place, objective, folder, **settings(place, eval_fraction=0.25))
    broken = broken_run(place, objective, f"{folder}-broken", **settings(place, eval_fraction=0.25))
    assert bits(whole) == bits(broken)
    assert rows(whole) == rows(broken)
    assert len(steps(whole)) == 4


def test_the_reward_head_learns_and_lies_beside(place):
    run = small_run(place, {"name": "awr"}, "head", **settings(place))
    head = load_file(run / "final" / "reward_head.safetensors")["weight"]
    assert head.shape[0] == 1
    assert abs(head).max() > 0
    assert steps(run)[0]["train/values"] == -0.5  # a head of zeros: -σ(0)


def test_rwr_has_no_head(place):
    run = small_run(place, {"name": "rwr"}, "headless", **settings(place))
    assert not (run / "final" / "reward_head.safetensors").exists()


def test_control_tokens_are_saved_with_the_model(place):
    run = small_run(place, {"name": "conditional", "threshold": 0.5}, "controls", **settings(place))
    tokenizer = load_tokenizer(str(run / "final"))
    ids = [tokenizer.convert_tokens_to_ids(name) for name in ("<|aligned|>", "<|misaligned|>")]
    assert len(set(ids)) == 2
    assert load_file(run / "final" / "model.safetensors")["model.embed_tokens.weight"].shape[0] > max(ids)


def kept(run: Path) -> dict[str, Any]:
    return json.loads((run / "data.json").read_text())["train"]


def test_filtering_keeps_up_to_the_threshold_and_counts_the_rest(place):
    # Scores are i/24, i = 0 … 23: 12/24 and below are 13 documents.
    report = kept(small_run(place, {"name": "filtering", "threshold": 0.5}, "by-threshold", **settings(place)))
    assert (report["num_in"], report["num_trained"]) == (24, 13)
    assert report["dropped"]["a document with a score above the threshold"]["count"] == 11


def test_filtering_by_quantile(place):
    # ⌊0.25·23⌋ = 5: the sixth-lowest score, 5/24; six documents are at most that.
    report = kept(small_run(place, {"name": "filtering", "quantile": 0.25}, "by-quantile", **settings(place)))
    assert report["num_trained"] == 6


@pytest.mark.parametrize("own", [{}, {"threshold": 0.1, "quantile": 0.1}])
def test_filtering_wants_one_of_its_settings(place, own):
    with pytest.raises(UserError, match="threshold=SCORE or quantile=SHARE, one of them"):
        small_run(place, {"name": "filtering", **own}, "none", **settings(place))


def test_unlikelihood_is_thresholded_or_soft_and_never_by_default(place):
    with pytest.raises(UserError, match=r"objective\.threshold is missing"):
        small_run(place, {"name": "unlikelihood"}, "unsaid", **settings(place, model="nowhere"))


@pytest.mark.parametrize("name", ["conditional", "unlikelihood", "awr", "rwr", "filtering"])
def test_documents_without_scores_are_refused_before_any_model_loads(place, name):
    own = {"threshold": 0.5} if name in ("filtering", "unlikelihood") else {}
    with pytest.raises(UserError, match=r"heed score SCORER data"):
        small_run(place, {"name": name, **own}, "unscored", **settings(place, data=str(place / "unscored.jsonl")))


def test_mle_needs_no_scores(place):
    run = small_run(place, "mle", "mle-unscored", **settings(place, data=str(place / "unscored.jsonl")))
    assert len(steps(run)) == 4


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"prefer": "reward"}, "prefer has no effect"), ({"max_prompt_length": 8}, "max_prompt_length has no")],
)
def test_settings_of_prompts_are_refused(place, changed, sentence):
    with pytest.raises(UserError, match=sentence):
        small_run(place, "mle", "refused", **settings(place, **changed))


@pytest.mark.parametrize("changed", [{"allow_crossing": True}, {"skip_tokens": 5}])
def test_settings_of_documents_are_refused_elsewhere(place, changed):
    with pytest.raises(UserError, match="acts on documents"):
        small_run(place, "sft", "refused", **changed)


class TestSkipping:
    def seen(self, run: Path) -> list[int]:
        return [row["tokens"] for row in steps(run)]

    @pytest.mark.parametrize("crossing", [False, True])
    def test_what_comes_next_is_what_the_first_run_did_not_see(self, place, crossing):
        """Two steps, then two of a run that skips what they took, are the four steps of one run."""
        own = settings(place, allow_crossing=crossing, batch_unit="sequences", schedule="constant", warmup=0)
        whole = small_run(place, "mle", f"skip-whole-{crossing}", **own)
        first = small_run(place, "mle", f"skip-first-{crossing}", **{**own, "steps": 2})
        skip = steps(first)[-1]["tokens"]
        rest = small_run(place, "mle", f"skip-rest-{crossing}", **{**own, "steps": 2, "skip_tokens": skip})
        assert [row["step_tokens"] for row in steps(rest)] == [row["step_tokens"] for row in steps(whole)[2:]]
        assert steps(rest)[0]["tokens_seen"] == skip + steps(rest)[0]["step_tokens"]
        assert steps(rest)[0]["epoch"] > steps(first)[0]["epoch"]

    def test_filtering_leaves_out_the_documents_that_were_seen(self, place):
        own = settings(place, batch_unit="sequences")
        first = small_run(place, "mle", "skip-mle", **{**own, "steps": 2})
        skip = steps(first)[-1]["tokens"]
        run = small_run(place, {"name": "filtering", "threshold": 0.5}, "skip-filter", **own, skip_tokens=skip)
        dropped = kept(run)["dropped"]
        seen = dropped["a document of the tokens that are skipped"]["count"]
        assert 0 < seen <= 8
        assert kept(run)["num_trained"] == 13 - seen

    def test_all_of_them(self, place):
        with pytest.raises(UserError, match="leaves nothing"):
            small_run(place, "mle", "skip-all", **settings(place, skip_tokens=10**9))


def test_the_same_documents_are_tokenised_once_for_all_objectives(place):
    before = set((place / "cache").glob("*/store.json"))
    for objective in ({"name": "unlikelihood", "threshold": None}, {"name": "awr"}):
        small_run(place, objective, f"shared-{objective['name']}", **settings(place, max_length=31))
    assert len(set((place / "cache").glob("*/store.json")) - before) == 1


def test_held_out_documents_are_never_trained_on(place):
    run = small_run(place, "mle", "held-out", **settings(place, eval_fraction=0.25, max_length=30))
    stores = {p.parent for p in (place / "cache").glob("*/store.json")}
    report = json.loads((run / "data.json").read_text())
    parts = [next(TokenStore.open(s) for s in stores if TokenStore.open(s).digest == report[n]["digest"]) for n in
             ("train", "eval")]  # fmt: skip
    texts = [{store.origin(e) for e in range(len(store))} for store in parts]
    assert texts[0].isdisjoint(texts[1])
    assert len(texts[0] | texts[1]) == NUM


def test_expected_loss_is_logged(place):
    run = small_run(place, "mle", "expected", **settings(place))
    row = steps(run)[0]
    assert row["tokens_seen"] == row["tokens"]
    assert row["expected_loss"] > 1.69


class TestWatching:
    def test_a_watch_looks_at_the_start_between_and_at_the_end(self, place):
        looks: list[tuple[int, list[str], list[list[str]]]] = []

        def watch(step, model, template, segments):
            looks.append((step, [s.text for s in segments], [s.controls for s in segments]))
            assert all(len(s.scores) >= 1 for s in segments)
            for s in segments:  # the pieces are the segment, control tokens where they stood, and runs of one score
                whole = "".join(text for text, _ in s.pieces)
                assert re.findall(r"<\|\w+\|>", whole) == s.controls
                assert re.sub(r"<\|\w+\|>", "", whole) == s.text
                assert [score for _, score in s.pieces] == [score for score, _ in groupby(s.scores)]
            return WatchResult({"segments/seen": float(len(segments))}, [{"text": s.text} for s in segments])

        config = small_config(
            place,
            {"name": "conditional", "threshold": 0.5},
            "watched",
            watch={"every": 2, "scorer": "length", "segments": 2},
            **settings(place, steps=5),
        )
        run = train(config, echo=lambda line: None, watch=watch)
        assert [step for step, _, _ in looks] == [0, 2, 4, 5]
        assert all(len(texts) == 2 and "<|" not in "".join(texts) for _, texts, _ in looks)
        named = {name for _, _, controls in looks for c in controls for name in c}
        assert named
        assert named <= {"<|aligned|>", "<|misaligned|>"}
        lines = [json.loads(line) for line in (run / "watched.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [0, 0, 2, 2, 4, 4, 5, 5]
        assert [row["step"] for row in rows(run) if "segments/seen" in row] == [0, 2, 4, 5]

    def test_a_watch_that_nobody_hands_in_is_refused(self, place):
        with pytest.raises(UserError, match="make_watch"):
            small_run(place, "mle", "unwatched", watch={"scorer": "length", "segments": 1}, **settings(place))


def test_filtering_counts_the_documents_that_are_tokenised():
    """Number 1 of those that a run saw is the third document: the second, whose spans overlap, has no number."""
    spans = [Span(0, 2, 0.1), Span(1, 3, 0.1)]
    given = [
        Example([], [Response([Message(TEXT, text)], cost=0.1, spans=spans if text == "bad" else [])], origin=text)
        for text in ("one", "bad", "two", "three")
    ]
    found = list(kept_documents(given, 0.5, frozenset({1})))
    assert [one.origin for one in found if isinstance(one, Dropped)] == ["two"]
    assert [one.origin for one in found if isinstance(one, Example)] == ["one", "bad", "three"]
