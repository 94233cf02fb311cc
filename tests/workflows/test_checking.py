"""`heed check`: its table, its sentences and its exit status, for ours and for a user's own objective."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from heedful.cli.root import main
from heedful.objectives import REGISTRY
from heedful.proofs.prove import COLUMNS

HEAD = "import torch.nn.functional as F\nfrom heedful.objectives.reduce import whole_step\n"
HEAD += "from heedful.objectives.views import Pairs, Singles\n\n\n"

GOOD = '''def mine(pairs: Pairs, *, beta: float = 0.1):
    """Mine."""
    return -F.logsigmoid(beta * pairs.margin)
'''

ORACLE = """

def mine_oracle(batch, stats, settings):
    from heedful.proofs.oracles.loops import log_ratio, log_sigmoid, pairs_of, total
    pairs = pairs_of(batch)
    margins = [log_ratio(batch, w) - log_ratio(batch, lo) for w, lo in pairs]
    return -total(log_sigmoid(settings["beta"] * m) for m in margins) / len(pairs)
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Write `mine.py`, check `mine.py:mine`, and give the status, what was said, and the one line on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(body: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "mine.py").write_text(HEAD + body)
        status = main(["check", "mine.py:mine", *words])
        return (status, *capsys.readouterr())

    return run


def test_ours_pass_and_every_proof_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "dpo", "pro", "--dtype", "fp64", "--device", "cpu"]) == 0
    head, columns, limits, dpo, pro, _, end = capsys.readouterr().out.splitlines()
    assert head.startswith("In fp64 on cpu")
    assert columns.split(maxsplit=1)[0] == "objective"
    assert all(column in columns for column in COLUMNS)
    assert limits.split("≤")[1].strip() == "1e-10"
    for line, name in ((dpo, "dpo"), (pro, "pro")):
        assert re.fullmatch(rf"{name}( +\de[-+]\d\d){{{len(COLUMNS)}}}", line), line
    assert re.fullmatch(r"Nothing failed: 2 objectives, in \d+ s\.", end)


def test_json_holds_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "ipo", "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dtype"], said["device"]) == ("fp32", "cpu")
    assert set(said["objectives"]["ipo"]) == set(COLUMNS)
    for proof in said["objectives"]["ipo"].values():
        assert proof["passed"]
        assert proof["deviation"] <= proof["tolerance"]


def test_ones_own_with_and_without_an_oracle(checked) -> None:
    status, said, _ = checked(GOOD)
    assert status == 0
    assert said.count("none given") == 3
    status, said, _ = checked(GOOD + ORACLE, "beta=0.4")
    assert status == 0
    assert said.count("none given") == 1
    status, said, error = checked(GOOD + ORACLE.replace("-total(", "-2 * total("))
    assert status == 1
    assert "oracle value: its loss is 0." in said
    assert "and its oracle's is 1." in said
    assert error == "heed: 1 of 1 objective failed: mine.py:mine (oracle value, oracle gradient)\n"


BROKEN = {
    "a mean": ("return -F.logsigmoid(pairs.margin).mean()", "one value for each", "every proof"),
    "a mean of one": ("return -F.logsigmoid(pairs.margin).mean().reshape(1)", "@whole_step", "accumulation"),
    "a sign": ("return -F.logsigmoid(-pairs.margin)", "look at its signs", "laws"),
    "overflow": ("return (-pairs.margin).exp()", "clamp what goes into exp", "laws"),
    "a typing error": ("return pairs.margn", "AttributeError: 'Pairs' object has no attribute 'margn'", "every proof"),
    "no such column": ("return pairs.batch.response('karma')", "'karma' that no batch carries", "every proof"),
    "nothing learnt": ("return pairs.margin.detach()", "without a gradient", "every proof"),
}


@pytest.mark.parametrize("mistake", list(BROKEN))
def test_a_mistake_is_told_in_one_sentence_with_its_mending(mistake: str, checked) -> None:
    body, says, column = BROKEN[mistake]
    status, said, error = checked(f"def mine(pairs: Pairs):\n    {body}\n")
    assert status == 1
    sentences = [line for line in said.splitlines() if says in line]
    assert any(column in sentence for sentence in sentences), said
    assert (column if column in COLUMNS else "laws") in error
    assert error.count("\n") == 1


def test_a_step_taken_as_a_whole_passes(checked) -> None:
    body = "@whole_step\ndef mine(pairs: Pairs):\n    return F.softplus(-pairs.margin - pairs.margin.mean())\n"
    assert checked(body)[0] == 0
    assert checked(body.removeprefix("@whole_step\n"))[0] == 1


def test_an_exemption_of_no_law_is_refused(checked) -> None:
    status, said, _ = checked(GOOD + '\nmine.exempt = {"rises": "why"}\n')
    assert status == 1
    assert "its attribute exempt names 'rises', and there are the laws fits packs, finite" in said


def test_with_modifiers(checked) -> None:
    assert checked(GOOD + ORACLE, "wpo=true", "nll_weight=0.5")[0] == 0
    status, said, _ = checked(GOOD, "humanline=[1,2]")
    assert status == 1
    assert "the bounds must lie on both sides of 0" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dop"], "did you mean dpo?"),
        (["dpo", "kto", "beta=1"], "name that one alone"),
        (["dpo", "bta=1"], "did you mean beta?"),
        (["dpo", "beta=-1"], "must be above 0"),
        (["nowhere.py:f"], "no file"),
        (["dpo", "--dtype", "fp16"], "fp16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_checked_is_a_users_mistake(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_ours_pass_in_under_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said["objectives"]) == list(REGISTRY)
    assert said["time_s"] < 60
