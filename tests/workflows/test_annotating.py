"""Documents scored in shards: order, failures, kills, other requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from heedful.config import ScoreConfig
from heedful.examples import load, load_with_report
from heedful.examples.documents import documents_of
from heedful.examples.loading import read_mixture
from heedful.examples.shape import Dropped
from heedful.scorers import get
from heedful.scorers.documents import Judgement, judge_documents
from heedful.types import Example, RunError, UserError
from heedful.workflows import annotate_apart, annotate_shards, annotating
from heedful.workflows.annotate_shards import Form, Shard, annotate, judge
from heedful.workflows.annotating import annotate_documents
from heedful.workflows.fan_out import fan_out, worker_number
from tests.scorers.tiny import save_classifier

NUM = 40


def numbered(folder: Path, piece: int) -> int:
    """Which worker this is; it ends when another one is at its piece."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.02)
    return worker_number()


SCORER = '''
"""A scorer that fails on one text and may be slow or deadly."""
import os, time
def fussy(prompts, responses):
    for text in responses:
        if "number 7\\n" in text:
            raise ValueError("no sevens")
        if os.environ.get("FUSSY") == "deadly" and "number 9\\n" in text:
            os._exit(9)
        if os.environ.get("FUSSY") == "slow":
            time.sleep(0.05)
    return [len(text) / 100 for text in responses]
fussy.lower_is_better = True
'''


@pytest.fixture
def place(tmp_path) -> Path:
    with (tmp_path / "documents.jsonl").open("w") as file:
        for i in range(NUM):
            text = f"# number {i}\n" + "x=1\n" * (i % 5)
            file.write(json.dumps({"text": text, "id": f"d{i}"}) + "\n")
    (tmp_path / "own.py").write_text(SCORER)
    return tmp_path


def asked_of(data: Path, out: Path, **settings) -> ScoreConfig:
    return ScoreConfig.model_validate({"data": str(data), "out": out, **settings})


def annotated(place: Path, out: str, scorer: str = "pep8", **settings) -> Path:
    asked = asked_of(place / "documents.jsonl", place / out, shard_characters=100, **settings)
    return annotate_documents(scorer, asked, echo=lambda line: None)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for data in parts(folder).values() for line in data.splitlines()]


def test_every_document_in_its_order_with_the_scorers_own_spans(place):
    found = rows(annotated(place, "out"))
    assert [row["id"] for row in found] == [f"d{i}" for i in range(NUM)]
    texts = [row["text"] for row in found]
    for row, judgement in zip(found, judge_documents(get("pep8"), texts), strict=True):
        assert isinstance(judgement, Judgement)
        assert row["score"] == judgement.score
        assert [span["score"] for span in row["spans"]] == [span.score for span in judgement.spans]
    # "# number 1\nx=1\n": E225 on the second line, 1 of 4 characters there, 1 of 15 in all
    assert found[1]["score"] == 1 / 15
    assert found[1]["spans"][1] == {"start": 11, "end": 15, "score": 0.25}


@pytest.mark.slow
def test_two_workers_write_what_one_writes(place):
    assert parts(annotated(place, "one")) == parts(annotated(place, "two", workers=2))


def test_parquet_holds_the_same(place):
    plain, table = annotated(place, "plain"), annotated(place, "table", format="parquet")
    assert [e.responses[0].spans for e in load(str(table))] == [e.responses[0].spans for e in load(str(plain))]
    assert [e.responses[0].cost for e in load(str(table))] == [e.responses[0].cost for e in load(str(plain))]


def test_pieces_hold_the_same_as_they_are_published(place):
    plain, pieces = annotated(place, "plain"), annotated(place, "pieces", rows="pieces")
    table = annotated(place, "table", rows="pieces", format="parquet")
    # E225 on the second line, 1 of its 4 characters, 1 of the document's 15
    assert rows(pieces)[1] == {
        "texts": ["# number 1\n", "x=1\n"], "scores": [0.0, 0.25], "avg_score": 1 / 15,
        "origin": f"{place / 'documents.jsonl'}:2", "id": "d1", "scorer": "pep8",
    }  # fmt: skip
    for other in (pieces, table):
        for one, same in zip(load(str(plain)), load(str(other)), strict=True):
            assert (one.id, one.responses[0].text) == (same.id, same.responses[0].text)
            assert (one.responses[0].cost, one.responses[0].spans) == (same.responses[0].cost, same.responses[0].spans)


def test_a_document_judged_as_a_whole_is_one_piece(place):
    found = rows(annotated(place, "out", "length", rows="pieces"))
    assert (found[0]["texts"], found[0]["scores"], found[0]["avg_score"]) == (["# number 0\n"], [-11.0], -11.0)


def test_a_document_that_fails_is_listed_and_the_rest_is_scored(place):
    out = annotated(place, "out", f"{place / 'own.py'}:fussy")
    assert len(rows(out)) == NUM - 1
    [failed] = [json.loads(line) for line in (out / ".score" / "failed.jsonl").read_text().splitlines()]
    assert failed["origin"].endswith("documents.jsonl:8")
    assert failed["reason"] == "the scorer raised ValueError: no sevens"


def test_whoever_reads_the_folder_is_told_how_many_could_not_be_scored(place):
    (place / "picky.py").write_text(
        "def picky(prompts, responses):\n"
        "    if any('x=1' not in text for text in responses):\n"
        "        raise ValueError('no code')\n"
        "    return [0.5] * len(responses)\n"
        "picky.lower_is_better = True\n"
    )
    out = annotated(place, "out", f"{place / 'picky.py'}:picky")
    _, report = load_with_report(str(out))
    # every fifth of 40 is without code: lines 1, 6, 11 …
    first = "; ".join(
        f"{place / 'documents.jsonl'}:{line} (the scorer raised ValueError: no code)" for line in (1, 6, 11)
    )
    assert report.lines() == [
        f"{out}: 32 rows read as scored, 32 examples",
        f"  warning: 8 left out by heed score: {first}; …",
    ]
    assert report.to_json()[0]["not_scored"] == 8


def test_scorers_without_a_model_start_without_torch(place):
    """It takes longer to load than a thousand documents to score, in every process."""
    code = (
        "import sys; from heedful.cli import main; "
        f"assert main(['score', 'pep8', 'data={place / 'documents.jsonl'}', 'out={place / 'light'}']) == 0; "
        "assert main(['score', '--list']) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_data_that_cannot_be_read_claims_no_folder(place):
    with pytest.raises(UserError):
        annotate_documents("pep8", asked_of(place / "documets.jsonl", place / "out"))
    assert not (place / "out").exists()
    assert len(rows(annotated(place, "out"))) == NUM


def test_nothing_scored_is_no_success(place):
    (place / "none.py").write_text(
        "def none(prompts, responses):\n    return [float('nan')] * len(responses)\nnone.lower_is_better = True\n"
    )
    with pytest.raises(RunError, match="not one document could be scored"):
        annotated(place, "out", f"{place / 'none.py'}:none")
    assert len((place / "out" / ".score" / "failed.jsonl").read_text().splitlines()) == NUM


def test_what_is_no_document_is_told_with_its_row_and_the_rest_is_scored(place):
    folder = place / "shards"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": 3}\n{"text": "one"}\n{"text": null}\n')
    (folder / "b.jsonl").write_text("")
    (folder / "c.jsonl").write_text('{"text": "two"}\n')
    said = []
    out = annotate_documents("length", asked_of(folder, place / "out"), echo=said.append)
    assert [row["text"] for row in rows(out)] == ["one", "two"]
    assert said[:3] == [
        f"{folder}: 4 rows read as language-modeling, 2 examples",
        f"  dropped 2: a document that is not text (first at {folder / 'a.jsonl'}:1)",
        f"  warning: 1 empty, without a row: {folder / 'b.jsonl'}",
    ]


@pytest.mark.slow
def test_killed_and_continued_nothing_is_lost_or_doubled(place):
    scorer = f"{place / 'own.py'}:fussy"
    whole = annotated(place, "whole", scorer)
    code = (
        "from heedful.config import ScoreConfig; from heedful.workflows.annotating import *; "
        f"annotate_documents({scorer!r}, ScoreConfig.model_validate({{'data': {str(place / 'documents.jsonl')!r}, "
        f"'out': {str(place / 'cut')!r}, 'shard_characters': 100}}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "FUSSY": "slow"})
    deadline = time.monotonic() + 60
    while len(list((place / "cut").glob("part-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list((place / "cut").glob("part-*")))
    assert 2 <= before < len(parts(whole))
    with (place / "cut" / ".score" / "shards.jsonl").open("a") as file:
        file.write('{"number": 99, "dig')  # as a kill may leave it
    assert parts(annotated(place, "cut", scorer)) == parts(whole)
    assert (place / "cut/.score/failed.jsonl").read_text() == (whole / ".score/failed.jsonl").read_text()


@pytest.mark.slow
def test_a_document_that_kills_the_scorer_is_listed_and_the_rest_is_scored(place, monkeypatch):
    scorer = f"{place / 'own.py'}:fussy"
    whole = rows(annotated(place, "whole", scorer))
    monkeypatch.setenv("FUSSY", "deadly")
    out = annotated(place, "out", scorer, workers=2)
    assert rows(out) == [row for row in whole if row["id"] != "d9"]
    failed = [json.loads(line) for line in (out / ".score" / "failed.jsonl").read_text().splitlines()]
    assert [(row["origin"].rpartition(":")[2], row["reason"]) for row in failed] == [
        ("8", "the scorer raised ValueError: no sevens"),
        ("10", "the scorer's process died on it"),
    ]
    before = parts(out)
    assert parts(annotated(place, "out", scorer)) == before  # by this very process: it is not asked again


class TestApart:
    """With a process that is none: it dies where `deadly` says."""

    def shard(self, monkeypatch, num: int, deadly: set[int]) -> Shard:
        def alone(work, *settings):
            dies = work is judge and any(row.get("number") in deadly for row in settings[0])
            return None if dies else work(*settings)

        monkeypatch.setattr(annotate_apart, "alone", alone)
        return Shard.of(3, [{"text": "a" * i, "origin": f"a:{i}", "number": i} for i in range(num)])

    @pytest.mark.parametrize("deadly", [set(), {0}, {36}, {1, 2, 3}, {0, 17, 18, 36}, set(range(1, 37))])
    def test_just_the_deadly_ones_fail(self, monkeypatch, deadly):
        shard = self.shard(monkeypatch, 37, deadly)
        done, content = annotate_apart.annotate_apart(shard, "length", "own", Form(), ["cpu"])
        assert done.failures == [[f"a:{i}", "the scorer's process died on it"] for i in sorted(deadly)]
        monkeypatch.undo()
        whole, lines = annotate(shard, "length", "own", Form(), ["cpu"])
        kept = [line for i, line in enumerate(lines.splitlines()) if i not in deadly]
        assert content.splitlines() == kept
        assert (done.digest, done.documents, done.characters) == (whole.digest, whole.documents, whole.characters)

    def test_a_scorer_that_dies_of_everything_is_given_up(self, monkeypatch):
        shard = self.shard(monkeypatch, 37, set(range(37)))
        with pytest.raises(RunError, match="died on each of 20 documents, the first of them a:0"):
            annotate_apart.annotate_apart(shard, "length", "own", Form(), ["cpu"])

    def test_a_scorer_that_dies_as_it_is_loaded_is_told(self, monkeypatch):
        shard = self.shard(monkeypatch, 2, set())
        monkeypatch.setattr(annotate_apart, "alone", lambda *work: None)
        with pytest.raises(RunError, match="in which the scorer length is loaded"):
            annotate_apart.annotate_apart(shard, "length", "own", Form(), ["cpu"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"split": "none"}, "was begun with split=own"), ({"format": "parquet"}, "was begun with format=jsonl")],
)
def test_another_request_on_the_same_folder_is_refused(place, settings, sentence):
    annotated(place, "out")
    with pytest.raises(UserError, match=sentence):
        annotated(place, "out", **settings)


def test_documents_that_changed_are_noticed(place):
    annotated(place, "out")
    text = (place / "documents.jsonl").read_text()
    (place / "documents.jsonl").write_text(text.replace("number 3\\n", "number 3 \\n"))
    with pytest.raises(UserError, match="its documents changed"):
        annotated(place, "out")


def test_a_folder_that_holds_other_files_is_refused(place):
    with pytest.raises(UserError, match="holds other files"):
        annotate_documents("pep8", asked_of(place / "documents.jsonl", place))


def test_conversations_are_no_documents(place):
    (place / "chat.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n")
    with pytest.raises(UserError):
        annotate_documents("pep8", asked_of(place / "chat.jsonl", place / "out"), echo=lambda line: None)


@pytest.mark.slow
def test_ray_writes_the_same(place):
    ray = pytest.importorskip("ray")
    cluster = pytest.importorskip("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1}, connect=True
    )
    try:
        cluster.add_node(num_cpus=1)
        assert parts(annotated(place, "ray", engine="ray", workers=2)) == parts(annotated(place, "one"))
    finally:
        ray.shutdown()
        cluster.shutdown()


class TestReader:
    def read(self, path: Path, *lines: dict) -> list[Example | Dropped]:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return list(documents_of(read_mixture(str(path))))

    def test_published_pieces(self, tmp_path):
        [found] = self.read(tmp_path / "a.jsonl", {"texts": ["One. ", "Two."], "scores": [0.25, 0.5], "avg_score": 0.3})
        assert isinstance(found, Example)
        [response] = found.responses
        assert response.text == "One. Two."
        assert [(s.start, s.end, s.score) for s in response.spans] == [(0, 5, 0.25), (5, 9, 0.5)]
        assert response.cost == 0.3

    def test_text_and_score(self, tmp_path):
        [found] = self.read(tmp_path / "a.jsonl", {"text": "One.", "score": 0.25})
        assert isinstance(found, Example)
        assert (found.responses[0].cost, found.responses[0].spans) == (0.25, [])

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"text": 3, "score": 0.1}, "a document that is not text"),
            ({"text": "a", "score": float("nan")}, "a score that is not a number"),
            (
                {"text": "a", "score": 0, "spans": [{"start": 0, "end": 5, "score": 0}]},
                "a span that ends at 5, outside its text",
            ),
            ({"texts": ["a", "b"], "scores": [0.1]}, "2 texts with 1 scores"),
            ({"texts": ["a"], "scores": [None], "avg_score": 0.1}, "a score that is not a number"),
        ],
    )  # fmt: skip
    def test_a_bad_row_is_counted_where_it_stands_and_the_rest_is_read(self, tmp_path, row, reason):
        good = {"text": "fine", "score": 0.5} if "text" in row else {"texts": ["fine"], "scores": [0.5]}
        found = self.read(tmp_path / "a.jsonl", good, row, good)
        assert found[1] == Dropped(f"{tmp_path / 'a.jsonl'}:2", reason)
        assert [type(one) for one in found] == [Example, Dropped, Example]


def test_workers_end_with_the_command_that_was_killed(place):
    command = [
        sys.executable,
        "-m",
        "heedful",
        "score",
        f"{place / 'own.py'}:fussy",
        f"data={place / 'documents.jsonl'}",
    ]
    command += [f"out={place / 'killed'}", "workers=2"]
    process = subprocess.Popen(command, env={**os.environ, "FUSSY": "slow"}, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (workers := children(process.pid)):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}").exists() and state(worker) != "Z" for worker in workers):
        assert time.monotonic() < end + 30
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    """Processes that this one spawned to work."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_what_could_not_be_scored_is_listed_once_however_often_its_shard_was(place):
    out = annotated(place, "twice", f"{place / 'own.py'}:fussy")
    listed = (out / ".score" / "failed.jsonl").read_text()
    assert listed.count("no sevens") == 1
    (out / ".score" / "shards.jsonl").unlink()
    annotated(place, "twice", f"{place / 'own.py'}:fussy")
    assert (out / ".score" / "failed.jsonl").read_text() == listed


def test_a_folder_inside_the_data_is_refused(place):
    with pytest.raises(UserError, match="would be read as data"):
        annotate_documents("length", asked_of(place, place / "scored"), echo=lambda line: None)
    assert not (place / "scored").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_damaged_books_are_told(place, content):
    out = annotated(place, "damaged", "length")
    (out / ".score" / "request.json").write_text(content)
    with pytest.raises(UserError, match="is damaged"):
        annotated(place, "damaged", "length")


class TestDevice:
    @pytest.fixture
    def scorer(self, place, monkeypatch) -> str:
        """A classifier, on a machine without a GPU."""
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        save_classifier(place / "model", "roberta", 2)
        annotate_shards._scorer.cache_clear()
        return f"classifier:{place / 'model'}"

    def test_the_model_is_put_where_it_is_asked_for(self, place, scorer, monkeypatch):
        import torch

        where = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(annotate_shards, "get", lambda name, *, device: where.append(device) or get(name))
        annotated(place, "auto", scorer)
        annotate_shards._scorer.cache_clear()
        annotated(place, "cpu", scorer, device="cpu")
        assert where == ["cuda:0", "cpu"]

    @pytest.mark.parametrize(("workers", "gpus"), [(1, 4), (2, 4), (4, 2), (3, 1)])
    def test_workers_take_the_gpus_in_turn(self, place, scorer, monkeypatch, workers, gpus):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        asked = asked_of(place / "documents.jsonl", place / "out", device="cuda", workers=workers)
        devices = annotating._devices(scorer, asked)
        taken = []
        for number in range(workers):
            monkeypatch.setattr(annotate_shards, "worker_number", lambda number=number: number)
            taken.append(annotate_shards.own_device(devices))
        assert taken == [f"cuda:{number % gpus}" for number in range(workers)]

    def test_workers_are_numbered_apart(self, tmp_path):
        (tmp_path / "begun").mkdir()
        found = list(fan_out(partial(numbered, tmp_path / "begun"), [1, 2], (), 2, "processes"))
        assert sorted(found) == [0, 1]
        assert worker_number() == 0

    @pytest.mark.parametrize("name", ["the classifier", "pep8"])
    def test_one_that_is_not_here_is_refused(self, place, scorer, name):
        with pytest.raises(UserError, match="device=cuda: this machine has none"):
            annotated(place, "out", scorer if name != "pep8" else name, device="cuda")
        assert not (place / "out").exists()

    def test_another_one_goes_on_with_the_same_folder(self, place, scorer):
        whole = parts(annotated(place, "out", scorer, device="cpu"))
        (place / "out" / "part-00001.jsonl").unlink()
        assert parts(annotated(place, "out", scorer, device="auto")) == whole

    def test_ray_has_processors_only(self, place):
        with pytest.raises(ValueError, match="engine=ray scores on the processors of its machines, not on cuda"):
            asked_of(place / "documents.jsonl", place / "out", engine="ray", device="cuda")
