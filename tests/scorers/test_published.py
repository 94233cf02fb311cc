from __future__ import annotations

import re
from pathlib import Path

import pytest

from heedful.scorers import FILE_SCORERS, PATTERN_SCORERS, SCORERS, get, needs_model
from heedful.types import UserError
from tests.fakes import save_tiny_model

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scorers.md"


@pytest.mark.parametrize("name", FILE_SCORERS)
def test_missing_files_end_in_one_sentence_that_says_what_they_are(name, tmp_path):
    label = ":LABEL" if name == "classifier" else ""
    with pytest.raises(UserError, match=re.escape(FILE_SCORERS[name].source)) as refusal:
        get(f"{name}:{tmp_path / 'nowhere'}{label}")
    assert f"{tmp_path / 'nowhere'}" in str(refusal.value)
    assert str(refusal.value).endswith(f"{name}:{FILE_SCORERS[name].form}")
    with pytest.raises(UserError, match=f"write {name}:{FILE_SCORERS[name].form}"):
        get(name)


def test_a_folder_without_weights_is_refused(tmp_path):
    (save_tiny_model(tmp_path / "m", "gpt2", score=True) / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no weights.*microsoft/DialogRPT-depth"):
        get(f"dialogrpt_depth:{tmp_path / 'm'}")


def test_the_page_lists_every_scorer_and_no_other():
    rows = re.findall(r"^\| `(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted([*SCORERS, *PATTERN_SCORERS, *FILE_SCORERS])


def test_what_asks_a_model_is_known_by_its_name():
    assert not any(needs_model(name) for name in (*SCORERS, "mine.py:f"))
    assert all(needs_model(name) for name in ("cola_fluency:x", "runs/reward"))


def test_the_pages_code_counts_the_words_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"prompt": "Say", "completion": "the cat"}\n')
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    assert get("tfidf_diversity:counts.json")(["Say"], ["the cat"]) == get("tfidf_diversity:train.jsonl")(
        ["Say"], ["the cat"]
    )
