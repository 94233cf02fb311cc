from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.scorers import PEP8_FAILURE, SCORERS, parses, pep8, statements
from heedful.scorers.python_code import violations

HEADER = "def f(a):\n"


def score(body: str, header: str = HEADER) -> float:
    return pep8([header], [body])[0]


def test_hand_worked_rates():
    # "    return a+1\n": 15 characters; E226 (missing whitespace around an arithmetic operator) is ignored by default.
    assert score("    return a+1\n") == 0
    # "    x=a\n    return x\n": 8 + 13 = 21 characters, E225 once.
    assert violations(HEADER, "    x=a\n    return x\n") == ["E225"]
    assert score("    x=a\n    return x\n") == pytest.approx(100 / 21)
    # "    return a\n\n": 14 characters, W391 (blank line at the end).
    assert score("    return a\n\n") == pytest.approx(100 / 14)


def test_a_violation_counts_each_time_it_occurs():
    assert violations(HEADER, "    x=a\n    y=a\n    return x\n") == ["E225", "E225"]


def test_the_prompts_own_violations_are_nobodys():
    untidy = "def f( a,b ) :\n"
    assert violations("", untidy + "    return a\n")
    assert score("    return a\n", untidy) == 0


def test_a_line_that_prompt_and_response_share_is_the_responses():
    assert violations("x", "=1\n") == ["E225"]


@pytest.mark.parametrize("body", ["", "   \n", "    return (\n", "x\n  y\n", "    return a\0\n", "    '''open\n"])
def test_nothing_is_tidy_by_not_being_python(body):
    assert score(body) == PEP8_FAILURE
    assert parses([HEADER], [body]) == [0]


def test_a_failure_is_never_better_than_code():
    assert score("    a=a;b=a;c=a\n") <= PEP8_FAILURE


def test_statements_are_not_lengthened_by_words():
    bodies = [
        "    return a\n",
        "    # why\n    return (a,\n            'b')\n",
        "    if a:\n        b = 1\n    return b\n",
        "    (\n",
    ]
    assert statements([HEADER] * 4, bodies) == [1, 1, 3, 0]
    assert statements([""], ["a = 1\nb = 2\n"]) == [2]


def test_an_invalid_escape_is_code_and_warns_nobody(recwarn):
    assert parses([HEADER], ["    return '\\d'\n"]) == [1]
    assert not recwarn.list


def test_a_configuration_file_of_the_folder_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text("[pycodestyle]\nignore = E225\n")
    monkeypatch.chdir(tmp_path)
    assert violations(HEADER, "    x=a\n") == ["E225"]


@given(st.text(max_size=60))
def test_every_text_has_a_finite_score(text):
    assert 0 <= SCORERS["pep8"]([HEADER], [text])[0] <= PEP8_FAILURE
