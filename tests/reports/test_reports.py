from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from heedful.reports import Section, blocks, curves, read_run, report, write_report
from heedful.types import UserError

VOID = {"meta", "link", "br", "img", "path", "line", "rect", "circle"}


class Balance(HTMLParser):
    """Fails on a tag that closes what is not open; notes everything that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.loads += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "srcset", "data", "xlink:href", "action")]
        self.loads += [v for k, v in attrs if k == "href" and not v.startswith("#")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "object", "embed") else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def check_self_contained(html: str) -> None:
    page = Balance()
    page.feed(html)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"https?:|//[\w-]+\.|url\(|@import", html)


def make_run(path: Path, steps: int = 20, note: str = "fine") -> Path:
    path.mkdir(parents=True)
    rows = [{"step": s, "tokens": s * 9, "loss": 1 / s, "train/kl": None if s == 3 else 0.1} for s in range(1, steps)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 99, "lo')
    (path / "config.yaml").write_text("lr: 1.0e-5\nobjective:\n  name: dpo\n")
    (path / "data.json").write_text(json.dumps({"train": {"rows": 7, "dropped": {f"<{note}>": 2}}}))
    (path / "environment.json").write_text('{"python": "3.11"}')
    return path


def test_a_report_needs_no_other_host_and_says_what_the_run_says(tmp_path):
    out = report([make_run(tmp_path / "one")])
    html = out.read_text()
    assert out == tmp_path / "one" / "report.html"
    check_self_contained(html)
    assert html.count("<svg") == 2
    for said in ("objective.name", "dpo", "train.rows", "&lt;fine&gt;", "prefers-color-scheme:dark", "viewport"):
        assert said in html


def test_curves_may_be_drawn_over_tokens(tmp_path, monkeypatch):
    run, drawn = make_run(tmp_path / "one", steps=4), {}
    chart = curves.chart

    def recorded(title, lines, **settings):
        drawn[title] = [*map(tuple, next(iter(lines.values())))]
        return chart(title, lines, **settings)

    monkeypatch.setattr(curves, "chart", recorded)
    over_tokens = report([run], x="tokens").read_text()
    assert drawn["loss"] == [(9, 1.0), (18, 1 / 2), (27, 1 / 3)]
    assert ">tokens<" in over_tokens
    assert ">step<" not in over_tokens
    report([run])
    assert drawn["loss"] == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_runs_are_told_apart(tmp_path):
    a, b = make_run(tmp_path / "a" / "dpo"), make_run(tmp_path / "b" / "dpo")
    html = report([a, b], tmp_path / "out.html").read_text()
    check_self_contained(html)
    assert str(a) in html
    assert str(b) in html


def test_a_half_written_last_line_and_nulls_are_left_out(tmp_path):
    run = read_run(make_run(tmp_path / "one"))
    assert [r["step"] for r in run.metrics] == list(range(1, 20))


def test_text_is_escaped_everywhere():
    evil = '<script>alert("x")</script>'
    html = "".join(
        (
            blocks.table([evil], [[evil, blocks.Cell(evil, "good")]]),
            blocks.facts({evil: {"a": evil}}),
            blocks.paragraph(evil),
            blocks.note(evil),
            blocks.warning(evil),
            blocks.folded(evil, ""),
            blocks.side_by_side(evil, [blocks.Answer(evil, evil, evil)]),
            curves.legend([evil]),
            curves.chart(evil, {evil: [(1, 1), (2, 3)]}),
        )
    )
    assert "<script" not in html


def test_a_chart_uses_the_pages_ink_and_draws_a_lonely_point():
    svg = curves.chart("loss", {"a": [(1, 2.0), (2, 1.0)], "b": [(1, 1.5)], "c": []})
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert svg.count('aria-roledescription="line mark"') == 2
    assert 'aria-roledescription="point"' in svg
    assert curves.chart("nothing", {"a": []}) == ""


def test_long_curves_are_averaged():
    points = [(float(s), float(s % 2)) for s in range(10_000)]
    assert len(curves._thinned(points)) == curves.MAX_POINTS
    assert curves._thinned(points)[:, 1] == pytest.approx(0.5, abs=0.02)


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        report([tmp_path])
    with pytest.raises(UserError, match="at least one"):
        report([])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(tmp_path / "file" / "x.html", "t", [Section("a", "b")])
