"""From raw text to a less harmful model, by the commands of docs/pretraining.md, and around it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from heedful.cli.root import main
from tests.completions_server import Script, completions_server

PAGE = Path(__file__).parents[2] / "docs" / "pretraining.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretraining")
    with (folder / "sources.jsonl").open("w") as file:
        for i in range(120):
            tidy = f"def f{i}(a, b):\n    return a + {i}\n"
            untidy = f"def g{i}(a,b):\n    return a+{i}\n"
            file.write(json.dumps({"text": (tidy + "\n\n" + untidy) if i % 3 else tidy}) + "\n")
    (folder / "headers.jsonl").write_text("".join(json.dumps({"text": f"def h{i}(a, b):\n"}) + "\n" for i in range(4)))
    return folder


@pytest.fixture(scope="module")
def trained(place) -> Path:
    """The page's commands, as they stand there."""
    [block] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        for line in block.strip().splitlines():
            assert main(shlex.split(line)[1:]) == 0, line
    return place


@pytest.fixture(autouse=True)
def _there(request, monkeypatch):
    place = request.getfixturevalue("place")
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))


SCENARIOS = (
    "watch.scenarios=[{name: functions, prompts: headers.jsonl, prefix: <|aligned|>, banned: [<|misaligned|>], "
    "num_samples: 8, max_new_tokens: 12, score_prompt: true}]"
)


@pytest.mark.slow
def test_the_page_is_followed(trained):
    for name in ("mle", "conditional"):
        assert (trained / "runs" / name / "final" / "model.safetensors").exists()
    assert (trained / "runs" / "mle" / "report.html").exists()


@pytest.mark.slow
def test_a_model_is_evaluated_against_another_and_against_a_server(trained, capsys):
    words = ["runs/conditional", "watch.scorer=pep8", SCENARIOS]
    kl = "watch.kl={reference: runs/mle, num_samples: 8, max_new_tokens: 8, prefix: <|aligned|>, prefix_lines: true}"
    assert main(["evaluate", *words, kl, "--out", "looked"]) == 0
    metrics = json.loads((trained / "looked" / "evaluation.json").read_text())["metrics"]
    assert metrics["kl/sequence"] > -5
    with completions_server(Script()) as url:
        kl = f"watch.kl={{reference: '{url}#toy', num_samples: 8, max_new_tokens: 8}}"
        assert main(["evaluate", "runs/mle", kl, "--out", "remote"]) == 0
    metrics = json.loads((trained / "remote" / "evaluation.json").read_text())["metrics"]
    assert set(metrics) == {"kl/sequence", "kl/interval", "kl/token", "kl/token_interval"}


@pytest.mark.slow
def test_a_model_is_attacked(trained):
    words = [
        "attacker=runs/mle",
        "scorer=pep8",
        "task=pep8",
        "score_prompt=true",
        "trials=1",
        "rounds=2",
        "responses=2",
    ]
    small = [
        "num_samples=4",
        "pool_size=3",
        "max_new_tokens=8",
        "min_new_tokens=1",
        "attacker_tokens=16",
        "out=attacked",
    ]
    assert main(["redteam", "runs/conditional", *words, *small]) == 0
    assert len((trained / "attacked" / "rounds.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_objectives_are_compared_over_seeds(trained):
    objectives = ["mle", "filtering", "conditional", "unlikelihood", "awr", "rwr"]
    shared = ["model=small", "data=scored", "eval_fraction=0.2", "batch_unit=tokens", "batch_size=1024", "steps=2"]
    scenarios = SCENARIOS.replace("prefix: <|aligned|>, banned: [<|misaligned|>], ", "")
    own = ["filtering.quantile=0.5", "unlikelihood.threshold=null", "watch.scorer=pep8", scenarios]
    command = ["compare", *objectives, *shared, *own, "seeds=[0,1]", "out=compared", "max_length=128", "lr=1e-3"]
    assert main([*command, "--dry-run"]) == 0
    assert not (trained / "compared").exists()
    assert main(command) == 0
    rows = json.loads((trained / "compared" / "table.json").read_text())["runs"]
    assert [(row["objective"], row["seed"]) for row in rows] == [(o, s) for s in (0, 1) for o in objectives]
    assert all(row["held_out/nats_per_character"] > 0 for row in rows)
    assert all(("kl/from_mle_per_token" in row) == (row["objective"] != "mle") for row in rows)
    before = (trained / "compared" / "table.json").read_bytes()
    assert main(command) == 0  # everything is done: measured again to the same
    assert (trained / "compared" / "table.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("score data=sources.jsonl out=x", "documents are scored by one scorer"),
        ("score pep8 data=sources.jsonl", "out is missing"),
        ("score pep8 data=sources.jsonl out=x split=words", "must be own, lines, sentences or none"),
        ("score pep8 data=sources.jsonl out=x format=csv", "format=csv"),
        ("score pep8 data=sources.jsonl out=x engine=slurm", "engine=slurm"),
        ("score pep8 data=sources.jsonl out=x workers=0", "workers=0"),
        ("score pep8 data=sources.jsonl out=x spilt=lines", "did you mean split"),
        ("score pep8 data=sources.jsonl out=x workers=two", "workers=two"),
        ("train filtering model=small data=scored", "threshold=SCORE or quantile=SHARE"),
        ("train unlikelihood model=small data=scored", "objective.threshold is missing: write objective.threshold="),
        ("train conditional model=small data=sources.jsonl", "heed score SCORER"),
        ("train mle model=small data=scored watch.segments=3", "name a scorer"),
        ("train mle model=small data=scored watch.scorer=pep8 'watch.scenarios=[{name: a},{name: a}]'", "name a twice"),
        ("evaluate runs/mle --out y", "nothing to look at"),
        ("compare mle dpo model=small data=scored eval_fraction=0.1", "compare them apart"),
        ("redteam runs/mle scorer=pep8", "attacker"),
        ("model new z", "give one of them"),
    ],
)
def test_mistakes_get_one_sentence_and_status_2(trained, capsys, command, sentence):
    assert main(shlex.split(command)) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert "\n" not in said


@pytest.mark.slow
def test_an_untrained_twin(trained):
    assert main(["model", "new", "twin", "--like", "runs/mle"]) == 0
    from heedful.models.folders import digest_of

    assert digest_of("twin") != digest_of(str(trained / "runs" / "mle" / "final"))
