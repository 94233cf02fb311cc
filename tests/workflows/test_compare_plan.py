"""Words and files to the runs of a comparison; nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.types import UserError
from heedful.workflows.compare_plan import Plan, chain_name, differing, make_plan, swept
from heedful.workflows.compare_settings import read_request

DATA = ("model=m", "data=d.jsonl", "eval_fraction=0.2")


def plan(objectives: str, *words: str, files: tuple[Path, ...] = ()) -> Plan:
    return make_plan(read_request(objectives.split(), [*DATA, *words], files))


def names(found: Plan) -> list[str]:
    return [run.name for run in found.members]


def test_a_chain_shares_its_first_run_with_the_member_of_that_name():
    found = plan("dpo sft+dpo sft")
    assert names(found) == ["dpo", "sft+dpo", "sft"]
    assert [run.name for run in found.runs] == ["dpo", "sft", "sft+dpo"], "what starts from sft comes after it"
    chained = found.runs[2]
    assert chained.config.model == found.runs[1].config.out == "runs/compare/runs/sft"
    assert chained.config.objective.name == "dpo"
    assert chained.parent is found.runs[1]


def test_a_link_that_is_not_asked_for_is_trained_and_not_compared():
    found = plan("sft+dpo")
    assert names(found) == ["sft+dpo"]
    assert [run.name for run in found.runs] == ["sft", "sft+dpo"]


def test_a_chain_is_named_without_the_values_of_its_sweeps():
    found = plan("sft+dpo", "dpo.beta=0.05,0.1", "sft.lr=1e-5,2e-5")
    assert {chain_name(run) for run in found.members} == {"sft+dpo"}
    assert len(found.members) == 4


def test_sweeps_make_their_product_along_chains():
    found = plan("kto sft+dpo", "dpo.beta=0.05,0.1", "dpo.lr=1e-6,2e-6", "sft.lr=3e-5", "lr=1e-5")
    assert names(found) == [
        "kto",
        "sft+dpo beta=0.05 lr=1e-6",
        "sft+dpo beta=0.05 lr=2e-6",
        "sft+dpo beta=0.1 lr=1e-6",
        "sft+dpo beta=0.1 lr=2e-6",
    ]
    by_name = {run.name: run.config for run in found.runs}
    assert by_name["sft"].lr == 3e-5
    assert by_name["kto"].lr == 1e-5
    assert by_name["sft+dpo beta=0.05 lr=2e-6"].objective.settings["beta"] == 0.05
    assert by_name["sft+dpo beta=0.05 lr=2e-6"].lr == 2e-6
    assert len({config.out for config in by_name.values()}) == len(by_name)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.1", []),
        ("0.05,0.1", ["0.05", "0.1"]),
        ("[0.9,0.95]", []),
        ("[0.9,0.95],[0.9,0.99]", ["[0.9,0.95]", "[0.9,0.99]"]),
    ],
)
def test_commas_outside_brackets_part_values(text: str, parts: list[str]):
    from heedful.config.values import Plain

    assert swept(Plain(text)) == parts


def test_after_and_the_matrix():
    assert names(plan("sft dpo kto", "after=sft")) == ["sft", "dpo", "kto", "sft+dpo", "sft+kto"]
    six = ["sft", "csft", "dpo", "kto", "ppo_offline", "slic"]
    assert names(plan("archangel")) == [*six, *(f"sft+{name}" for name in six[1:])]


def test_a_file_says_it_all_and_words_win(tmp_path: Path):
    file = tmp_path / "all.yaml"
    file.write_text(
        "objectives: [sft, dpo]\nmodel: m\ndata: d.jsonl\neval_fraction: 0.5\nlr: 1e-5\n"
        "dpo: {beta: 0.05,\n  lr: '2e-6'}\nevaluate: {length: 0.1, pep8: 1}\nout: there\n"
    )
    found = plan("", "lr=3e-5", files=(file,))
    assert names(found) == ["sft", "dpo"]
    assert found.config.judges == {"length": 0.1, "pep8": 1.0}
    assert str(found.out) == "there"
    dpo = found.runs[1].config
    assert (found.first.lr, dpo.lr, dpo.objective.settings["beta"]) == (3e-5, 2e-6, 0.05)


def test_judges_are_named_in_three_ways():
    for text in ("length,pep8", "[length, pep8]", "{length: 1, pep8: 1}"):
        assert plan("sft", f"evaluate={text}").config.judges == {"length": 1.0, "pep8": 1.0}


def test_a_recipe_begins_and_what_is_said_wins():
    common = ("max_length=512", "max_prompt_length=256", "dtype=fp32", "batch_size=8")
    found = plan("sft halos/kto", *common, "halos/kto.beta=0.2", "lr=1e-6")
    kto = found.runs[1].config
    assert kto.objective.name == "kto"
    assert (kto.objective.settings["beta"], kto.lr, kto.batch_size) == (0.2, 1e-6, 8)


def test_validation_keeps_the_best_unless_told_otherwise():
    assert plan("sft", "evaluate=length").first.keep_best == "max:eval/reward"
    assert plan("sft", "evaluate=length").first.eval_every == 0.5
    assert plan("sft", "evaluate=length", "keep_best=null").first.keep_best is None
    assert plan("sft", "evaluate=length", "validation_prompts=0").first.keep_best is None
    assert plan("sft").first.keep_best is None


def test_what_differs_is_said_once():
    found = differing(plan("sft dpo kto", "dpo.beta=0.1,0.2", "kto.batch_size=16").members)
    assert set(found) == {"objective", "batch_size"}
    assert found["batch_size"] == {"sft": 32, "dpo beta=0.1": 32, "dpo beta=0.2": 32, "kto": 16}
    assert "beta=0.2" in found["objective"]["dpo beta=0.2"]


MISTAKES = {
    "sft dop": "did you mean dpo",
    "sft halos/kt": "did you mean halos/kto",
    "sft dpo+": "a chain is written sft+dpo",
    "sft dpo dpo.bata=1": "dpo.bata is not a setting; did you mean beta",
    "sft dpo sft.beta=1,2": "sft.beta is not a setting",
    "sft kto dpo.beta=1": "dpo (the command line) is not compared here; kto, sft are",
    "sft dpo beta=1": "write dpo.beta=VALUE",
    "sft dpo epocs=2": "did you mean epochs",
    "sft dpo lr=fast": "must be a number",
    "sft dpo dpo.beta=0.1,0.1": "different values",
    "sft dpo dpo.data=x": "dpo could not be compared, with data=x where sft has d.jsonl; give data for all of them",
    "sft dpo objective=kto": "takes objectives as words",
    "sft dpo dpo=1": "settings of one objective are written dpo.NAME=VALUE",
    "sft dpo after=sft+kto": "name one objective",
    "sft halos/kto": "give max_length and max_prompt_length and dtype for all of them",
    "sft dpo overwrite=true": "delete runs/compare yourself",
    "sft evaluate={length: much}": "evaluate",
    "num_prompts=3": "nothing to compare",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_sentence(words: str):
    said = words.replace(": ", ":").split()
    objectives, settings = ([word for word in said if ("=" in word) == given] for given in (False, True))
    with pytest.raises(UserError) as caught:
        plan(" ".join(objectives), *settings)
    assert MISTAKES[words] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prompts_to_compare_on_are_asked_for():
    with pytest.raises(UserError, match="needs prompts that nothing was trained on: give eval_data"):
        make_plan(read_request(["sft"], ["model=m", "data=d"]))
