from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

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


def looked(run: Path, num: int) -> Path:
    """A run that was looked at twice: `num` samples and one segment each, sample i scored i."""
    folder = make_run(run)
    rows = [
        {"step": step, "kind": "sample", "name": "free", "prompt": f"p{i}", "text": f"<text {i} of {step}>", "score": i}
        for step in (0, 500)
        for i in range(num)
    ]
    rows += [
        {"step": s, "kind": "segment", "name": "d", "prompt": "", "text": f"trained {s}", "score": 0.5, "carried": 0.25}
        for s in (0, 500)
    ]
    (folder / "watched.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_report_shows_some_samples_and_leads_to_all(tmp_path):
    run = looked(tmp_path / "one", 100)
    html = report([run]).read_text()
    # every eighth of 99, 98, …, the first dozen of them
    assert [i for i in range(100) if f"&lt;text {i} of 500&gt;" in html] == [
        11,
        19,
        27,
        35,
        43,
        51,
        59,
        67,
        75,
        83,
        91,
        99,
    ]
    assert "free: 12 of 100 samples, from the worst to the best" in html
    pages = re.findall(r'<a href="(report-samples/[^"]+)">([^<]+)</a>', html)
    assert pages == [
        ("report-samples/one/step-000500.html", "all that was seen after step 500"),
        ("report-samples/one/step-000000.html", "all that was seen after step 0"),
    ]
    for (place, _), step in zip(pages, (500, 0), strict=True):
        page = (run / place).read_text()
        assert [int(i) for i in re.findall(rf"&lt;text (\d+) of {step}&gt;", page)] == list(range(99, -1, -1))
        assert "free: all 100 samples" in page
        assert f"trained {step}" in page
        check_self_contained(page)


def test_a_few_samples_are_all_in_the_report(tmp_path):
    run = looked(tmp_path / "one", 12)
    html = report([run]).read_text()
    assert all(f"&lt;text {i} of {step}&gt;" in html for i in range(12) for step in (0, 500))
    assert not (run / "report-samples").exists()


def test_pages_of_samples_lie_beside_the_report_by_run(tmp_path):
    runs = [looked(tmp_path / name / "run", 20) for name in "ab"]
    out = report(runs, tmp_path / "both" / "r s.html")
    html = out.read_text()
    places = re.findall(r'<a href="([^"#]+)">all that was seen after step 500', html)
    assert len(set(places)) == 2
    assert all((out.parent / unquote(place)).is_file() for place in places)
