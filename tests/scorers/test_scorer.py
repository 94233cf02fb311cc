from __future__ import annotations

import pytest

from heedful.scorers import SCORERS, Scorer, get
from heedful.types import TEXT, Example, Message, Response, RunError, UserError


def sampled(*texts: str, finished: bool | None = None) -> Example:
    extra = {} if finished is None else {"finished": finished}
    return Example([Message(TEXT, "def f():\n")], [Response([Message(TEXT, t)], extra=dict(extra)) for t in texts])


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_gives_one_number_a_response(name):
    assert len(SCORERS[name](["def f():\n"] * 3, ["    pass\n", "", "    x=1\n"])) == 3
    assert SCORERS[name]([], []) == []


@pytest.mark.parametrize("name", SCORERS)
def test_a_failure_is_not_better_than_anything_judged(name):
    scorer = SCORERS[name]
    if scorer.failure is None:
        return
    judged = scorer(["def f():\n"] * 3, ["    pass\n", "    x=1;y=2\n", "    return (\n"])
    assert all(scorer.reward(scorer.failure) <= scorer.reward(score) for score in judged)


def test_unfinished_and_empty_samples_are_failures():
    whole, cut = sampled(" ", "    return\n", finished=True), sampled("    pass\n", finished=False)
    examples = [sampled("    pass\n", ""), cut, whole]
    assert SCORERS["pep8"].examples(examples) == [[0, 10], [10], [10, 0]]
    assert SCORERS["parses"].examples(examples) == [[1, 0], [0], [0, 1]]
    assert SCORERS["length"].examples(examples) == [[9, 0], [9], [1, 11]]


def test_reward_is_larger_for_better():
    assert SCORERS["pep8"].reward(3.0) == -3.0
    assert SCORERS["length"].reward(3.0) == 3.0


def test_a_users_function(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def shouting(prompts, responses):\n    'Capitals.'\n    return [sum(map(str.isupper, r)) for r in responses]\n"
        "shouting.lower_is_better = True\nshouting.failure = 99\n"
    )
    scorer = get(f"{path}:shouting")
    assert scorer(["", ""], ["aBC", ""]) == [2, 99]
    assert (scorer.name, scorer.lower_is_better, scorer.about) == ("shouting", True, "Capitals.")
    with pytest.raises(UserError, match="no function 'nothing'"):
        get(f"{path}:nothing")
    path.write_text("import nonsense_that_is_not_there\n")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        get(f"{path}:shouting")


def test_names_that_are_not_there():
    with pytest.raises(UserError, match="Did you mean 'pep8'"):
        get("pep")
    with pytest.raises(UserError, match="no file"):
        get("nowhere.py:f")


@pytest.mark.parametrize("returned", [[1.0], [1.0, float("nan")]])
def test_a_function_that_returns_nonsense_ends_the_run(returned):
    with pytest.raises(RunError, match="Scorer bad"):
        Scorer("bad", lambda p, r: returned, False, None, "")(["a", "b"], ["c", "d"])


class TestEach:
    FUSSY = Scorer("fussy", lambda p, r: [1 / (t != "zero") if t != "nan" else float("nan") for t in r], True, 9.0, "")

    def test_a_response_that_fails_costs_only_itself(self):
        found = self.FUSSY.each([sampled("a", "zero", ""), sampled("nan"), sampled("b", finished=False)])
        [[one, raised, empty], [wrong], [cut]] = found
        assert (one, empty, cut) == (1.0, 9.0, 9.0)
        assert raised == "the scorer raised ZeroDivisionError: division by zero"
        assert wrong == "Scorer fussy returned nan for response 0; it must return numbers."

    def test_where_none_fails_it_is_what_the_whole_is(self):
        examples = [sampled("a", "b"), sampled(), sampled("")]
        assert self.FUSSY.each(examples) == self.FUSSY.examples(examples) == [[1.0, 1.0], [], [9.0]]

    @pytest.mark.parametrize("text", ["zero", "nan"])
    def test_the_whole_fails_for_one(self, text):
        for ask in (lambda: self.FUSSY.examples([sampled("a", text)]), lambda: self.FUSSY(["", ""], ["a", text])):
            with pytest.raises((RunError, ZeroDivisionError)):
                ask()

    def test_another_number_of_scores_is_no_responses_fault(self):
        with pytest.raises(RunError, match="returned 1 numbers for 2"):
            Scorer("mean", lambda p, r: [0.0], True, None, "").each([sampled("a", "b")])
