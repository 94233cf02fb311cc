from __future__ import annotations

import json

import pytest
import torch

from heedful.types import UserError
from heedful.workflows import demo


def test_dry_run_says_what_would_happen_and_makes_nothing(tmp_path):
    said = []
    demo.run(out=tmp_path / "d", dry_run=True, echo=said.append)
    assert not (tmp_path / "d").exists()
    for word in ("corpus", "base", "reward", *demo.METHODS, "report.html"):
        assert word in "\n".join(said)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "d").write_text("")
    with pytest.raises(UserError, match="is a file"):
        demo.run(out=tmp_path / "d")


TINY = demo.Size(150, 512, 64, 2, ("steps=250", "lr=8e-3"), ("steps=40", "lr=8e-3"), 200, 8, 20, 3, 64)


@pytest.mark.slow
def test_the_whole_demo_and_its_second_run(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "QUICK", TINY)
    said: list[str] = []
    report = demo.run(out=tmp_path / "d", quick=True, echo=said.append)
    table = json.loads((tmp_path / "d" / "table.json").read_text())
    assert [row["name"] for row in table["models"]] == [*demo.PRETRAINED, "base", *demo.METHODS]
    assert all(row["num_samples"] == 60 for row in table["models"])
    assert table["models"][2]["kl"] == pytest.approx(0, abs=1e-3)
    html = report.read_text()
    assert "http" not in html
    for said_in_report in (*demo.PRETRAINED, "base", *demo.METHODS, "success", "<svg", "prefers the tidier body"):
        assert said_in_report in html
    assert (tmp_path / "d" / "table.md").read_text().count("\n|") == 10
    before = report.read_bytes()
    said.clear()
    demo.run(out=tmp_path / "d", quick=True, echo=said.append)
    assert sum("done before" in line for line in said) == 25
    assert report.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(torch.get_num_threads() < 2, reason="a full-sized quick demo on one thread is too slow")
@pytest.mark.timeout(1800)
def test_the_quick_demo_makes_a_better_model(tmp_path):
    demo.run(out=tmp_path / "d", quick=True, echo=lambda line: None)
    _, _, base, *methods = json.loads((tmp_path / "d" / "table.json").read_text())["models"]
    for method in methods:
        assert method["violations"] < base["violations"]
        assert method["valid"] > base["valid"] or method["name"] == "pro"  # which needs more than a quick demo
