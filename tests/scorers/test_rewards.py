from __future__ import annotations

import numpy as np
import pytest

from heedful.config.schema import TrainConfig
from heedful.config.within import RewardConfig
from heedful.scorers.identity import identity_of
from heedful.scorers.rewards import AT_ONCE, COLUMN, Rewards, Scoring, said_by
from heedful.scorers.score_cache import ScoreCache
from heedful.types import Example, Message, Response, RunError, UserError
from tests.fakes import save_tiny_model

COUNTING = """
from pathlib import Path
LOG = Path(__file__).with_suffix(".log")

def capitals(prompts, responses):
    with LOG.open("a") as log:
        log.write("".join(f"{r}\\n" for r in responses))
    return [sum(map(str.isupper, r)) for r in responses]
"""


def row(*answers: str, prompt: str = "q", rewards=None, origin: str = "data.jsonl:1") -> Example:
    responses = [Response([Message("assistant", text)]) for text in answers]
    for response, reward in zip(responses, rewards or [], strict=False):
        response.reward = reward
    return Example([Message("user", prompt)], responses, origin=origin)


def parts(**named) -> dict[str, RewardConfig]:
    return {name: RewardConfig.model_validate(part) for name, part in named.items()}


def rewards_of(examples) -> list[list[float | None]]:
    return [[r.reward for r in e.responses] for e in examples]


def test_a_weighted_sum_by_hand(tmp_path):
    data = [row("ab", "abcd", rewards=[0.0, 2.0]), row("abcdef", rewards=[1.0])]
    asked = {
        "length": RewardConfig(weight=-0.5, normalize=False),
        COLUMN: RewardConfig(weight=2.0, normalize="sigmoid"),
    }
    rewards = Rewards.fit(asked, data, Scoring(tmp_path))
    judged = rewards.attach(data, Scoring(tmp_path))
    # -0.5·2 + 2σ(0) = -1 + 1;  -0.5·4 + 2σ(2) = -2 + 2·0.880797;  -0.5·6 + 2σ(1) = -3 + 2·0.731059
    assert rewards_of(judged) == [[0.0, pytest.approx(-0.238406, abs=1e-6)], [pytest.approx(-1.537883, abs=1e-6)]]
    assert judged[0].responses[1].extra == {"reward/length": 4.0, "reward/data": 2.0}
    assert data[0].responses[1].extra == {}


def test_normalising_is_by_the_data_that_it_was_fitted_on(tmp_path):
    data = [row("ab", "abcd"), row("abcdef")]
    rewards = Rewards.fit(parts(length={"normalize": True}), data, Scoring(tmp_path))
    values = np.array(rewards_of(rewards.attach(data, Scoring(tmp_path)))[0])
    # lengths 2, 4, 6: mean 4, deviation sqrt(8/3)
    assert values == pytest.approx([-2 / np.sqrt(8 / 3), 0.0])
    [[other]] = rewards_of(rewards.attach([row("abcdefgh")], Scoring(tmp_path)))
    assert other == pytest.approx(4 / np.sqrt(8 / 3))
    with pytest.raises(UserError, match="length says 2 of every response"):
        Rewards.fit(parts(length={"normalize": True}), [row("ab", "cd")], Scoring(tmp_path))


def test_lower_is_better_is_turned_round(tmp_path):
    [[tidy, broken]] = said_by("pep8", [row("x = 1\n", "x = (")], Scoring(tmp_path))
    assert tidy > broken == -10.0


def test_each_content_is_scored_once_whatever_data_it_stands_in(tmp_path):
    (tmp_path / "mine.py").write_text(COUNTING)
    name = f"{tmp_path}/mine.py:capitals"
    scoring = Scoring(tmp_path / "cache")
    data = [row("A", "bB"), row("A"), row("A", prompt="another")]
    assert said_by(name, data, scoring) == [[1.0, 1.0], [1.0], [1.0]]
    assert said_by(name, [row("bB", "CCC")], scoring) == [[1.0, 3.0]]
    assert (tmp_path / "mine.log").read_text().split() == ["A", "bB", "A", "CCC"]
    # Another function is another scorer, though it has the same name.
    (tmp_path / "mine.py").write_text(COUNTING.replace("isupper", "islower"))
    assert said_by(name, [row("bB")], scoring) == [[1.0]]
    assert len(list((tmp_path / "cache" / "scores").iterdir())) == 2


def test_what_a_killed_run_had_scored_is_not_scored_again(tmp_path):
    failing = COUNTING.replace(
        "    return", "    if 'last' in responses:\n        raise RuntimeError('gone')\n    return"
    )
    (tmp_path / "mine.py").write_text(failing)
    name, scoring = f"{tmp_path}/mine.py:capitals", Scoring(tmp_path / "cache")
    data = [row(f"A{i}") for i in range(AT_ONCE)] + [row("last", origin="data.jsonl:129")]
    with pytest.raises(RunError, match=r"capitals fails on data.jsonl:129 \('last'\): RuntimeError: gone"):
        said_by(name, data, scoring)
    seen = ScoreCache(tmp_path / "cache" / "scores", identity_of(name))
    assert len(seen.scores) == AT_ONCE
    (tmp_path / "mine.log").unlink()
    assert said_by(name, data[:-1], scoring) == [[1.0]] * AT_ONCE
    assert not (tmp_path / "mine.log").exists()


def test_a_torn_record_is_no_score(tmp_path):
    cache = ScoreCache(tmp_path, "me")
    cache.add({b"a" * 16: 1.5})
    with cache.path.open("ab") as file:
        file.write(b"torn")
    again = ScoreCache(tmp_path, "me")
    assert again.scores == {b"a" * 16: 1.5}
    again.add({b"b" * 16: 2.5, b"a" * 16: 9.0})  # the first stays
    assert again.scores == ScoreCache(tmp_path, "me").scores == {b"a" * 16: 1.5, b"b" * 16: 2.5}


@pytest.mark.parametrize("returned", ["[float('nan')] * len(responses)", "responses", "[1.0]"])
def test_nonsense_is_a_sentence_with_the_row(tmp_path, returned):
    (tmp_path / "mine.py").write_text(f"def bad(prompts, responses):\n    return {returned}\n")
    with pytest.raises(RunError, match=r"bad fails on data.jsonl:1"):
        said_by(f"{tmp_path}/mine.py:bad", [row("a", "b")], Scoring(tmp_path))
    with pytest.raises(UserError, match=r"a response of data\.jsonl:1 has none"):
        said_by(COLUMN, [row("a")], Scoring(tmp_path))


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'length'"):
        said_by("lenght", [row("a")], Scoring(tmp_path))
    with pytest.raises(UserError, match=r"there is no file nowhere\.py"):
        said_by("nowhere.py:f", [row("a")], Scoring(tmp_path))
    with pytest.raises(UserError, match=r"rewards=\./no/where: no such folder"):
        said_by("./no/where", [row("a")], Scoring(tmp_path))


def test_a_reward_model_is_known_by_its_weights_and_its_template(tmp_path):
    model = save_tiny_model(tmp_path / "rm", score=True)
    first = identity_of(str(model))
    assert identity_of(str(model)) == first
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}|{% endfor %}")
    assert identity_of(str(model)) != first
    [[a, b]] = said_by(str(model), [row("a", "bb")], Scoring(tmp_path))
    assert a != b
    assert said_by(str(model), [row("bb"), row("a")], Scoring(tmp_path)) == [[b], [a]]


def test_the_composition_is_known_by_all_that_decides_it(tmp_path):
    data = [row("ab", "abcd", rewards=[1.0, 0.0])]
    asked = [{"length": 1.0}, {"length": 2.0}, {"length": {"normalize": True}}, {"length": 1.0, COLUMN: 1.0}]
    fitted = [Rewards.fit(parts(**named), data, Scoring(tmp_path)) for named in asked]
    assert len({rewards.identity() for rewards in fitted}) == 4
    assert [rewards.scores_samples for rewards in fitted] == [True, True, True, False]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("rewards=pep8", {"pep8": (1.0, False)}),
        ("rewards={pep8: 1, length: -0.01}", {"pep8": (1.0, False), "length": (-0.01, False)}),
        ("rewards={models/rm: {weight: 0.5, normalize: true}}", {"models/rm": (0.5, True)}),
        ("rewards={data: {normalize: sigmoid}}", {"data": (1.0, "sigmoid")}),
        ("rewards={my/file.py:judge: 2}", {"my/file.py:judge": (2.0, False)}),
        ("rewards.pep8=3", {"pep8": (3.0, False)}),
        ("rewards=cola_fluency:models/cola", {"cola_fluency:models/cola": (1.0, False)}),
    ],
)
def test_how_a_composition_is_written(written, meant):
    from heedful.config.load import load

    config = load(TrainConfig, overrides=["objective=sft", "model=m", "data=d", written])
    assert config.rewards is not None
    assert {name: (part.weight, part.normalize) for name, part in config.rewards.items()} == meant
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("written", ["rewards={}", "rewards={pep8: much}", "rewards={pep8: {wait: 1}}"])
def test_compositions_that_are_none(written):
    from heedful.config.load import load

    with pytest.raises(UserError, match="rewards"):
        load(TrainConfig, overrides=["objective=sft", "model=m", "data=d", written])
