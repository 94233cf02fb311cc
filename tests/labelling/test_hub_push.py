"""Pushing a data set to the hub by its own client, to a server on loopback that speaks as much of its interface."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet
import pytest
import yaml
from huggingface_hub import constants

from heedful.cli.root import main
from tests.labelling.conftest import answered, better, make_project

KEY = "hf_" + "x" * 34


class Hub(BaseHTTPRequestHandler):
    """repositories: name → path → content."""

    repositories: dict[str, dict[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("authorization") != f"Bearer {KEY}":
            self._answer(401, {"error": "Invalid username or password."})
            return
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            assert asked["type"] == "dataset"
            assert asked.get("private") or asked["visibility"] == "private"  # as older and newer clients say it
            name = f"{asked['organization']}/{asked['name']}"
            self.repositories.setdefault(name, {})
            self._answer(200, {"url": f"{constants.ENDPOINT}/datasets/{name}"})
        elif self.path == "/api/validate-yaml":
            header = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            assert header["configs"][0]["data_files"][0]["path"] == "data/train.parquet"
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._answer(
                200,
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]},
            )
        elif "/commit/" in self.path:
            name = self.path.split("/api/datasets/")[1].split("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    assert line["value"]["encoding"] == "base64"
                    self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = "0" * 40
            self._answer(200, {"commitUrl": f"{constants.ENDPOINT}/datasets/{name}/commit/{oid}", "commitOid": oid})
        else:
            self._answer(404, {"error": "no such page"})

    def do_GET(self) -> None:
        self._answer(200, {"sha": "0" * 40, "siblings": [], "id": "team/labels"})

    def _answer(self, status: int, value: dict) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """In silence."""


@pytest.fixture
def hub(monkeypatch):
    repositories: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Hub,), {"repositories": repositories}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield repositories
    server.shutdown()
    thread.join()
    server.server_close()


def push(sqlite, tmp_path, name: str = "team/labels") -> int:
    make_project(sqlite, 6)
    answered(sqlite, "ann", [better("r0")] * 6)
    here = ["--db", str(tmp_path / "labels.db")]
    return main(["label", "export", "p", str(tmp_path / "out"), "--hub", "--split", "0.5", "--push", name, *here])


def test_a_folder_is_pushed_as_it_was_written(sqlite, tmp_path, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", KEY)
    assert push(sqlite, tmp_path) == 0
    assert f"Pushed to {constants.ENDPOINT}/datasets/team/labels." in capsys.readouterr().out
    written = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*.*")}
    assert set(hub["team/labels"]) == {name for name, path in written.items() if path.is_file()}
    for name, content in hub["team/labels"].items():
        assert content == written[name].read_bytes()
    (tmp_path / "train.parquet").write_bytes(hub["team/labels"]["data/train.parquet"])
    rows = pyarrow.parquet.read_table(tmp_path / "train.parquet").num_rows
    assert 0 < rows < 6


@pytest.mark.parametrize(("name", "said"), [("team/labels", "Invalid"), ("not a name", "not a name cannot be pushed")])
def test_what_the_hub_refuses_is_one_sentence_and_the_folder_stays(
    sqlite, tmp_path, hub, monkeypatch, capsys, name, said
):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "y" * 34)
    assert push(sqlite, tmp_path, name) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("heed: ")
    assert error.count("\n") == 1
    assert (tmp_path / "out" / "README.md").exists()
    assert hub == {}


def test_no_hub_is_one_sentence(sqlite, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", KEY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert push(sqlite, tmp_path) == 2
    assert "team/labels cannot be pushed" in capsys.readouterr().err
