"""Hub names against a server on this machine that speaks the part of the hub's API that downloads use."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.fakes import save_tiny_model

REVISIONS = {"main": "1" * 40, "v1": "2" * 40, "1" * 40: "1" * 40, "2" * 40: "2" * 40}


class Hub(http.server.BaseHTTPRequestHandler):
    """One repository, `someone/tiny`, with two revisions in folders named by their commits."""

    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = unquote(self.path.split("?")[0])
        self.asked.append(path)
        parts = path.strip("/").split("/")
        if path.startswith("/api/models/someone/tiny/revision/") and parts[-1] in REVISIONS:
            commit = REVISIONS[parts[-1]]
            names = sorted(file.name for file in (self.root / commit).iterdir())
            info = {"id": "someone/tiny", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
            return self._send(json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        if path.startswith("/api/models/someone/tiny/tree/") and parts[-1] in REVISIONS:
            files = sorted((self.root / REVISIONS[parts[-1]]).iterdir())
            tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
            return self._send(json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)
        if parts[:3] == ["someone", "tiny", "resolve"] and parts[3] in REVISIONS:
            commit = REVISIONS[parts[3]]
            file = self.root / commit / "/".join(parts[4:])
            if file.is_file():
                data = file.read_bytes()
                etag = hashlib.sha256(data).hexdigest()
                return self._send(data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, body)
        code = "RevisionNotFound" if "someone/tiny" in path else "RepoNotFound"
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _send(self, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(200)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Hub]]:
    root = tmp_path_factory.mktemp("hub")
    for seed, commit in enumerate(sorted(set(REVISIONS.values()))):
        folder = save_tiny_model(root / commit, seed=seed)
        (folder / "pytorch_model.bin").write_bytes(b"never to be fetched")
        (folder / "modeling_own.py").write_text("raise SystemExit")
    handler = type("Served", (Hub,), {"root": root, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.endpoint = f"http://127.0.0.1:{server.server_port}"  # pyright: ignore[reportAttributeAccessIssue]
    yield handler
    server.shutdown()


def _ask(code: str, endpoint: str, cache: Path, **more: str) -> str:
    """Run code in a process of its own: the hub's address is read when its library is imported."""
    environment = (
        os.environ
        | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        | more
    )
    done = subprocess.run(
        [sys.executable, "-c", f"from heedful.models import *\nfrom heedful.types import UserError\n{code}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


LOAD = """
for name in ("someone/tiny", "someone/tiny@v1"):
    print(load_policy(name).digest)
"""
REFUSE = """
for name in ("someone/nonesuch", "someone/tiny@v9"):
    try:
        resolve(name)
    except UserError as error:
        print(error)
"""


@pytest.mark.processes
def test_hub_names(hub: type[Hub], tmp_path: Path):
    endpoint = hub.endpoint  # pyright: ignore[reportAttributeAccessIssue]
    first, second = _ask(LOAD, endpoint, tmp_path).splitlines()
    assert first != second, "revisions are told apart"
    assert not any(path.endswith((".bin", ".py")) for path in hub.asked), "no pickles, no code"
    refused = _ask(REFUSE, endpoint, tmp_path).splitlines()
    assert len(refused) == 2
    assert all(line.startswith("model=someone/") and "the hub says" in line for line in refused)
    # What was fetched once is there without a network; what was not is refused in a sentence.
    offline = _ask(LOAD, "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert offline.splitlines() == [first, second]
    assert "hub cannot be reached" in _ask(REFUSE, "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
