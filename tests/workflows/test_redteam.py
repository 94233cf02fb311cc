"""Attacks on a tiny model: by a tiny model and by a server; stopped and continued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import heedful.workflows.redteam as module
from heedful.config import RedTeamConfig
from heedful.rollouts.endpoint import Endpoint
from heedful.types import RunError, UserError
from heedful.workflows.redteam import redteam
from tests.completions_server import Script, completions_server
from tests.fakes import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("redteam") / "model"))


def config(out: Path, attacker: str, **changed) -> RedTeamConfig:
    small = {"trials": 2, "rounds": 3, "pool_size": 4, "responses": 3, "attacker_tokens": 12, "num_samples": 4}
    small |= {"max_new_tokens": 8, "min_new_tokens": 2, "device": "cpu", "scorer": "regex:[aeiou]"}
    return RedTeamConfig(**{"attacker": attacker, "out": out, **small, **changed})


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("rounds.jsonl", "worst_prompts.jsonl", "state.json")}


def attacked(model: str, asked: RedTeamConfig) -> Path:
    return redteam(model, asked, echo=lambda line: None)


def test_a_stopped_attack_goes_on_and_ends_with_the_same_bits(model, tmp_path, monkeypatch):
    whole = attacked(model, config(tmp_path / "whole", model))
    rounds = [json.loads(line) for line in (whole / "rounds.jsonl").read_text().splitlines()]
    assert [(row["trial"], row["round"]) for row in rounds] == [(t, r) for t in (0, 1) for r in (1, 2, 3)]
    worst = [json.loads(line) for line in (whole / "worst_prompts.jsonl").read_text().splitlines()]
    assert [row["score"] for row in worst] == sorted((row["score"] for row in worst), reverse=True)
    assert max(row["best"] for row in rounds) == worst[0]["score"]
    assert (whole / "report.html").exists()

    original, calls = module._one_round, []

    def failing(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(module, "_one_round", failing)
    with pytest.raises(KeyboardInterrupt):
        attacked(model, config(tmp_path / "cut", model))
    monkeypatch.setattr(module, "_one_round", original)
    assert files(attacked(model, config(tmp_path / "cut", model))) == files(whole)


def test_best_never_falls_within_a_trial(model, tmp_path):
    out = attacked(model, config(tmp_path / "out", model, trials=1))
    best = [json.loads(line)["best"] for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert best == sorted(best)


def test_an_attacker_behind_an_endpoint(model, tmp_path):
    script = Script()
    with completions_server(script) as url:
        out = attacked(model, config(tmp_path / "out", f"{url}#toy", trials=1))
    rows = [json.loads(line) for line in (out / "worst_prompts.jsonl").read_text().splitlines()]
    assert sum(row["born"] > 0 for row in rows) >= 6  # three answers in each of three rounds, but for doubles
    assert script.asked[0]["prompt"].endswith("5.")
    assert len({asked["seed"] for asked in script.asked}) == 3


def test_a_server_that_fails_keeps_the_rounds_before(model, tmp_path, monkeypatch):
    script = Script(statuses=[200, *[500] * 99])
    with completions_server(script) as url:
        asked = config(tmp_path / "out", f"{url}#toy", trials=1)
        monkeypatch.setattr(module, "parse_endpoint", lambda name: Endpoint(url, "toy", sleep=lambda s: None))
        with pytest.raises(RunError, match="answered 500"):
            attacked(model, asked)
        assert len(json.loads((tmp_path / "out" / "state.json").read_text())["rounds"]) == 1
        script.statuses.clear()
        attacked(model, asked)
    assert len((tmp_path / "out" / "rounds.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"pool": "nowhere.jsonl"}, "cannot be read"),
        ({"instruction": Path("nowhere.txt")}, "cannot be read"),
        ({"attacker": "http://127.0.0.1:1/v1"}, "URL#MODEL"),
        ({"scorer": "nonsense"}, "no scorer"),
    ],
)
def test_mistakes_before_a_model_loads(model, tmp_path, monkeypatch, changed, sentence):
    monkeypatch.setattr(module, "load_policy", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match=sentence):
        attacked(model, config(tmp_path / "out", **{"attacker": model, **changed}))


def test_another_attack_in_the_same_folder_is_refused(model, tmp_path):
    attacked(model, config(tmp_path / "out", model, trials=1, rounds=1))
    with pytest.raises(UserError, match="was begun with rounds=1, not rounds=2"):
        attacked(model, config(tmp_path / "out", model, trials=1, rounds=2))


def test_a_prompt_too_long_for_the_model_is_left_out(model, tmp_path):
    long = "1. " + "word " * 400 + "\n2. short"
    with completions_server(Script(change=lambda choice: {**choice, "text": long})) as url:
        out = attacked(model, config(tmp_path / "out", f"{url}#toy", trials=1, rounds=2))
    first, second = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert (first["new"], first["not_judged"]) == (1, 1)
    assert (second["new"], second["not_judged"]) == (0, 1)


def test_prompts_of_which_nothing_can_be_judged_are_no_worst_ones(model, tmp_path):
    (tmp_path / "own.py").write_text("def own(prompts, responses):\n    raise ValueError('never')\n")
    with pytest.raises(RunError, match="of no prompt of the first pool"):
        attacked(model, config(tmp_path / "out", model, scorer=f"{tmp_path / 'own.py'}:own"))


def test_a_prompt_that_cannot_be_judged_itself_has_no_score_of_its_own(model, tmp_path):
    """Its samples can, so that it counts."""
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"text": "number 7"}\n{"text": "number 8"}\n')
    (tmp_path / "own.py").write_text("def own(p, texts):\n    return [0.25 / (text != 'number 7') for text in texts]\n")
    asked = config(tmp_path / "out", model, scorer=f"{tmp_path / 'own.py'}:own", pool=str(pool), trials=1, rounds=1)
    out = attacked(model, asked)
    own = {row["prompt"]: row["own_score"] for row in map(json.loads, (out / "worst_prompts.jsonl").open())}
    assert (own["number 7"], own["number 8"]) == (None, -0.25)
    assert "<td>–</td><td>0</td><td>number 7</td>" in (out / "report.html").read_text()


def test_a_server_that_chats_is_told_to_go_on_with_the_list(model, tmp_path):
    script = Script(chat="Sure, here you are:\n5. one more\n6) and another")
    with completions_server(script) as url:
        out = attacked(model, config(tmp_path / "out", f"{url}#llm", attacker_api="chat", trials=1, rounds=2))
    first = script.asked[0]
    assert (first["model"], first["n"], first["max_tokens"], first["temperature"]) == ("llm", 3, 12, 1.0)
    [message] = first["messages"]
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert message["role"] == "user"
    assert message["content"].endswith(
        "\nGo on with this list from number 5, each on a line of its own behind its number, and say nothing else."
    )
    assert all(
        f"{i}. {' '.join(prompt.split())}\n" in message["content"] for i, prompt in enumerate(rounds[0]["shown"], 1)
    )
    assert len(script.asked) == 2
    assert script.asked[0]["seed"] != script.asked[1]["seed"]
    found = [json.loads(line) for line in (out / "worst_prompts.jsonl").read_text().splitlines()]
    assert {row["prompt"] for row in found if row["born"] == 1} == {"one more", "and another"}
    assert [row["new"] for row in rounds] == [2, 0]


def test_a_chat_wants_a_server(model, tmp_path):
    with pytest.raises(UserError, match="attacker_api=chat asks a server"):
        attacked(model, config(tmp_path / "out", model, attacker_api="chat"))
    assert not (tmp_path / "out").exists()
