from __future__ import annotations

import json
import math

import numpy as np
import pytest

from heedful.types import TEXT, Example, Message, Response
from heedful.workflows.demo_table import HEADERS, cells, measure, to_json
from heedful.workflows.tables import to_markdown, write_json


def samples(num_prompts: int, *, broken: float, untidy: float, length: int, gap: float = 0.0, seed: int = 0):
    """Four samples a prompt: a share is broken (scores 10), of the rest a share is untidy (scores 2)."""
    rng = np.random.default_rng(seed)

    def response() -> Response:
        parses = rng.random() >= broken
        score = 10.0 if not parses else 2.0 if rng.random() < untidy else 0.0
        text = "x y " * (length // 4)
        extra = {
            "pep8": score,
            "statements": length / 20,
            "parses": float(parses),
            "finished": True,
            "logp": -5.0,
            "logp_base": -5.0 - gap,
        }
        return Response([Message(TEXT, text)], extra=extra)

    return [Example([Message(TEXT, f"def f{i}():\n")], [response() for _ in range(4)]) for i in range(num_prompts)]


BASE = samples(200, broken=0.5, untidy=0.3, length=80)


def judged(**changes):
    settings = {"broken": 0.5, "untidy": 0.3, "length": 80, **changes}
    return measure("m", samples(200, seed=1, **settings), BASE, seed=0)


def test_hand_worked_measures():
    extras = [(0.0, 1.0, -1.0, -2.0), (4.0, 1.0, -3.0, -3.0), (10.0, 0.0, -2.0, -5.0)]
    texts = ["aa bb cc", "aa bb", "zz"]
    responses = [
        Response(
            [Message(TEXT, t)],
            extra={"pep8": s, "statements": 4 * p, "parses": p, "logp": a, "logp_base": b, "finished": True},
        )
        for t, (s, p, a, b) in zip(texts, extras, strict=True)
    ]
    examples = [Example([Message(TEXT, "def f():\n")], responses)]
    row = measure("base", examples, examples, seed=0)
    assert row.violations == pytest.approx(14 / 3)
    assert row.violations_of_valid == 2
    assert row.valid == pytest.approx(2 / 3)
    assert row.characters == (8 + 5) / 2
    assert row.statements == 4
    assert row.distinct_2 == pytest.approx(2 / 3)  # aa bb, bb cc, aa bb
    assert row.kl == pytest.approx((1 + 0 + 3) / 3)
    assert math.isnan(row.worst)  # fewer than 25 parse
    assert row.success is None


def test_success_needs_fewer_violations_and_nothing_paid_for_them():
    assert judged(broken=0.3).success
    assert judged(broken=0.3, untidy=0.1).verdict.endswith("tidier too")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, "did not fall beyond doubt"),
        ({"broken": 0.7}, "the share that parses fell by"),
        ({"broken": 0.3, "length": 60}, "the length of what parses fell by 25%"),
        ({"broken": 0.3, "untidy": 0.7}, "became untidier"),
    ],
)
def test_a_method_that_does_not_succeed_is_told_so(changes, fault):
    row = judged(**changes)
    assert row.success is False
    assert row.verdict.startswith("no success")
    assert fault in row.verdict


def test_the_table_in_every_form(tmp_path):
    base, new = measure("base", BASE, BASE, seed=0), judged(broken=0.3)
    rows = [cells(base, 10.0, 1.0), cells(new, 2.0, None)]
    assert all(len(r) == len(HEADERS) for r in rows)
    assert "[" not in "".join(rows[0])
    assert "%" in rows[1][3]
    assert "[+" in rows[1][3]
    table = to_markdown(HEADERS, rows, ["a note"])
    assert [line.count("|") for line in table.splitlines()[:4]] == [len(HEADERS) + 1] * 4
    write_json(tmp_path / "table.json", to_json([base, new], {"base": 1.5, "dpo": 2.0}, {"seed": 0}))
    written = json.loads((tmp_path / "table.json").read_text())
    assert written["seconds"]["total"] == 3.5
    assert written["models"][1]["differences"]["violations"]["high"] < 0
