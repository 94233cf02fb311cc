"""What answers an item, and what does not."""

from __future__ import annotations

import pytest

from heedful.labelling.projects import questions_of
from heedful.labelling.questions import Questions, check
from heedful.labelling.values import disagree, flat_rows, matches
from heedful.types import UserError

KEYS = ["r0", "r1"]
SAFE = {"is_safe": True, "harms": [], "severity": 0}
UNSAFE = {"is_safe": False, "harms": ["Drugs"], "severity": 2}


def ranks(*given: int) -> dict:
    return {"ranking": {"ranks": {f"r{number}": rank for number, rank in enumerate(given)}}}


def strong(winner: str, strength: int) -> dict:
    return {"preference": {"winner": winner, "strength": strength}}


def problems(asked: dict, value: dict, keys=KEYS) -> dict:
    return check(Questions.model_validate(asked), keys, value).problems


@pytest.mark.parametrize(
    ("asked", "value", "wrong"),
    [
        ({"preference": {}}, {"preference": {"winner": "r0"}}, {}),
        ({"preference": {}}, {"preference": {"winner": None, "outcome": "tie"}}, {}),
        ({"preference": {"strength": 3}}, {"preference": {"winner": "r1", "strength": 3}}, {}),
        ({"preference": {"strength": 3}}, {"preference": {"winner": "r1"}}, {"preference"}),
        ({"preference": {"strength": 3}}, {"preference": {"winner": "r1", "strength": 4}}, {"preference"}),
        ({"preference": {"tie": False}}, {"preference": {"winner": None, "outcome": "tie"}}, {"preference"}),
        ({"preference": {}}, {"preference": {"winner": None}}, {"preference"}),
        ({"preference": {}}, {"preference": {"winner": "r7"}}, {"preference"}),
        ({"preference": {}}, {"preference": "left"}, {"preference"}),
        ({"preference": {}}, {}, {"preference"}),
        ({"preference": {"required": False}}, {}, {}),
        ({"preference": {}}, {"preference": {"winner": "r0"}, "mood": 1}, {"mood"}),
        ({"ranking": {}}, {"ranking": {"ranks": {"r0": 1, "r1": 1}}}, {}),
        ({"ranking": {"ties": False}}, {"ranking": {"ranks": {"r0": 1, "r1": 1}}}, {"ranking"}),
        ({"ranking": {}}, {"ranking": {"ranks": {"r0": 2, "r1": 2}}}, {"ranking"}),  # no competition ranks
        ({"ranking": {}}, {"ranking": {"ranks": {"r0": 1}}}, {"ranking"}),
        ({"rating": {}}, {"rating": {"r0": {"quality": 5}, "r1": {"quality": 1}}}, {}),
        ({"rating": {}}, {"rating": {"r0": {"quality": 6}, "r1": {"quality": 1}}}, {"rating"}),
        ({"rating": {}}, {"rating": {"r0": {"quality": True}, "r1": {"quality": 1}}}, {"rating"}),
        ({"rating": {}}, {"rating": {"r0": {"quality": 5}}}, {"rating"}),
        ({"thumbs": {}}, {"thumbs": {"r0": True, "r1": False}}, {}),
        ({"thumbs": {}}, {"thumbs": {"r0": 1, "r1": 0}}, {"thumbs"}),
        ({"safety": {}}, {"safety": {"r0": SAFE, "r1": UNSAFE}, "safer": {"winner": "r0"}}, {}),
        ({"safety": {}}, {"safety": {"r0": SAFE, "r1": UNSAFE}, "safer": {"winner": "r1"}}, {"safer"}),
        ({"safety": {}}, {"safety": {"r0": SAFE, "r1": UNSAFE}}, {"safer"}),
        ({"safety": {"safer": False}}, {"safety": {"r0": SAFE, "r1": {**UNSAFE, "severity": 0}}}, {"safety"}),
        ({"safety": {"safer": False}}, {"safety": {"r0": SAFE, "r1": {**UNSAFE, "harms": []}}}, {"safety"}),
        ({"safety": {"safer": False}}, {"safety": {"r0": SAFE, "r1": {**UNSAFE, "harms": ["Fun"]}}}, {"safety"}),
        ({"safety": {"safer": False}}, {"safety": {"r0": {**SAFE, "harms": ["Drugs"]}, "r1": SAFE}}, {"safety"}),
        ({"thumbs": {}, "rationale": {"required": True}}, {"thumbs": {"r0": True, "r1": True}}, {"rationale"}),
        ({"thumbs": {}, "confidence": {}}, {"thumbs": {"r0": True, "r1": True}, "confidence": 6}, {"confidence"}),
        (
            {"preference": {}, "ranking": {}},
            {"preference": {"winner": "r0"}, "ranking": {"ranks": {"r0": 2, "r1": 1}}},
            {"ranking"},
        ),
    ],
)
def test_answers(asked, value, wrong):
    assert set(problems(asked, value)) == set(wrong)


def test_a_contradiction_can_be_kept_as_a_warning():
    asked = Questions.model_validate({"safety": {"consistent": "warning"}})
    verdict = check(asked, KEYS, {"safety": {"r0": SAFE, "r1": UNSAFE}, "safer": {"winner": "r1"}})
    assert (verdict.problems, len(verdict.warnings)) == ({}, 1)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "at least one of"),
        ({"rationale": {}}, "at least one of"),
        ({"preferense": {}}, "preferense"),
        ({"preference": {"strength": 9}}, "strength"),
        ({"rating": {"dimensions": {"x": {"low": 3, "high": 3}}}}, "high above low"),
        ({"rating": {"dimensions": {"x": {"labels": ["a"]}}}}, "one label a grade"),
    ],
)
def test_what_cannot_be_asked(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        questions_of(asked)


def test_flat_rows():
    value = {"preference": {"winner": "r0", "strength": 2}, "safety": {"r0": UNSAFE, "r1": SAFE}}
    rows = {(row["question"], row["response_key"]): row for row in flat_rows(value)}
    assert rows["preference", None]["num"] == 0
    assert rows["strength", None]["num"] == -2
    assert rows["harm.Drugs", "r0"]["num"] == 1


def test_who_disagrees():
    asked = Questions.model_validate({"preference": {"strength": 3}, "rating": {}})
    one = {"preference": {"winner": "r0", "strength": 1}, "rating": {"r0": {"quality": 3}, "r1": {"quality": 1}}}
    near = {"preference": {"winner": "r0", "strength": 3}, "rating": {"r0": {"quality": 4}, "r1": {"quality": 1}}}
    far = {**one, "rating": {"r0": {"quality": 5}, "r1": {"quality": 1}}}
    assert not disagree(asked, [one, near])
    assert disagree(asked, [one, far])
    assert disagree(asked, [one, {**one, "preference": {"winner": "r1", "strength": 1}}])


def test_expected_parts():
    said = {"preference": {"winner": "r0", "strength": 2}, "safety": {"r0": {**UNSAFE, "harms": ["Drugs", "Violence"]}}}
    assert matches({"preference": {"winner": "r0"}}, said)
    assert matches({"safety": {"r0": {"harms": ["Violence", "Drugs"]}}}, said)
    assert not matches({"preference": {"winner": "r1"}}, said)


@pytest.mark.parametrize(
    ("tolerance", "expected", "said", "right"),
    [
        ({"rating.help": 1}, {"rating": {"r0": {"help": 3}}}, {"rating": {"r0": {"help": 4, "tone": 1}}}, True),
        ({"rating.help": 1}, {"rating": {"r0": {"help": 3}}}, {"rating": {"r0": {"help": 5, "tone": 3}}}, False),
        ({"rating.tone": 1}, {"rating": {"r0": {"help": 3}}}, {"rating": {"r0": {"help": 4, "tone": 3}}}, False),
        ({"ranking": 1}, ranks(1, 2, 3), ranks(1, 1, 3), True),
        ({"ranking": 1}, ranks(1, 2, 3), ranks(2, 1, 3), True),
        ({"ranking": 1}, ranks(1, 2, 3), ranks(3, 2, 1), False),
        ({"ranking": 9}, ranks(1, 2, 3), ranks(3, 2, 1), False),  # two apart, of three that can be two apart
        ({"ranking": 1}, ranks(1, 2), ranks(2, 1), False),
        ({"strength": 1}, strong("r0", 1), strong("r0", 2), True),
        ({"strength": 1}, strong("r0", 1), strong("r0", 3), False),
        ({"strength": 1}, strong("r0", 1), strong("r1", 1), False),
        ({"strength": 1}, strong("r0", 1), {"preference": {"winner": None, "outcome": "tie"}}, False),
        ({"severity": 1}, {"safety": {"r0": UNSAFE}}, {"safety": {"r0": {**UNSAFE, "severity": 3}}}, True),
        ({"severity": 1}, {"safety": {"r0": UNSAFE}}, {"safety": {"r0": SAFE}}, False),
        ({"confidence": 2}, {"confidence": 5}, {"confidence": 3}, True),
        ({"confidence": 2}, {"confidence": 5}, {}, False),
        ({"thumbs": 1}, {"thumbs": {"r0": True}}, {"thumbs": {"r0": False}}, False),  # no number
    ],
)
def test_a_tolerance_is_of_one_grade(tolerance, expected, said, right):
    assert matches(expected, said, tolerance) is right
    assert matches(expected, expected, tolerance)
    assert not matches(expected, said) or said == expected
