"""A loopback server that speaks the Hugging Face hub's API for repositories a test makes.

    with HubServer() as hub:
        hub.add("dataset", "org/pairs", {"train.jsonl": b"..."})
        subprocess.run([...], env=hub.env(tmp_path))

`HF_ENDPOINT` is read when huggingface_hub is imported, so code under test runs in a process of its own with
`hub.env(home)`, whose downloads go to `home`.  Repository info, trees, paths-info, refs and resolve (HEAD, GET,
ranges) are answered; anything else is 404.  `hub.requests` lists (method, path) of all requests.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

DATE = "2026-01-01T00:00:00.000Z"
API = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree|paths-info|refs)(?P<rest>/.*)?)?"
)
RESOLVE = re.compile(r"(?P<dataset>/datasets)?/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Repository:
    """commits: the files of every commit by its id; refs: branches and tags."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(commit, files) of a branch, tag or commit."""
        commit = self.refs.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


class HubServer:
    """Listens on 127.0.0.1 at a port of the system's choice while the `with` block runs."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []

    def add(self, kind: str, name: str, files: Mapping[str, bytes | str], revision: str = "main") -> str:
        """Commits `files` to a branch (or tag) of the `dataset` or `model` called `name`; returns the commit."""
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        digest = hashlib.sha1(repr((name, revision, sorted(content.items()))).encode()).hexdigest()
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commits[digest] = content
        repository.refs[revision] = digest
        return digest

    def add_folder(self, kind: str, name: str, folder: Path, revision: str = "main") -> str:
        """Commits every file of a folder, for example a model's."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        return self.add(
            kind, name, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}, revision
        )

    def env(self, home: Path) -> dict[str, str]:
        """The environment of a process that uses this hub, with its cache in `home`."""
        names = ("HF_", "HUGGING_FACE_", "TRANSFORMERS_CACHE", "HUGGINGFACE_")
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(names) and "proxy" not in key.lower()
        }
        hub = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return {**kept, **hub, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer({})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_json = "json" in self.headers.get("Content-Type", "")
        self._answer(json.loads(body) if is_json else parse_qs(body.decode()))

    def _answer(self, body: dict[str, Any]) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        self.server_hub.requests.append((self.command, path))
        if match := RESOLVE.fullmatch(path):
            self._resolve(match)
        elif match := API.fullmatch(path):
            self._api(match, query, body)
        else:
            self._missing("EntryNotFound")

    def _resolve(self, match: re.Match[str]) -> None:
        repository = self.server_hub.repositories.get(("dataset" if match["dataset"] else "model", match["name"]))
        found = repository.files(match["revision"]) if repository else None
        if found is None:
            self._missing("RevisionNotFound" if repository else "RepoNotFound")
        elif match["path"] not in found[1]:
            self._missing("EntryNotFound", {"X-Repo-Commit": found[0]})
        else:
            data = found[1][match["path"]]
            self._send_data(data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": found[0], "Accept-Ranges": "bytes"})

    def _send_data(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            self._send(200, data, headers)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        self._send(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def _api(self, match: re.Match[str], query: dict[str, list[str]], body: dict[str, Any]) -> None:
        repository = self.server_hub.repositories.get((match["kind"], match["name"]))
        if repository is None:
            self._missing("RepoNotFound")
            return
        if match["what"] == "refs":
            branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repository.refs.items()]
            self._json({"branches": branches, "tags": [], "converts": []})
            return
        revision, _, inner = (match["rest"] or "/main").lstrip("/").partition("/")
        found = repository.files(revision)
        if found is None:
            self._missing("RevisionNotFound")
        elif match["what"] == "tree":
            self._tree(found[1], inner.strip("/"), recursive=query.get("recursive", [""])[0].lower() in ("true", "1"))
        elif match["what"] == "paths-info":
            paths = body.get("paths", [])
            self._json(_entries(found[1], [paths] if isinstance(paths, str) else paths))
        else:
            self._json(_info(match["name"], *found))

    def _tree(self, files: dict[str, bytes], folder: str, *, recursive: bool) -> None:
        below = f"{folder}/" if folder else ""
        inside = [path for path in _all_paths(files) if path.startswith(below) and path != folder]
        if not inside:
            self._missing("EntryNotFound")
            return
        self._json(_entries(files, [path for path in inside if recursive or "/" not in path[len(below) :]]))

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": f"{code}: {self.path}"}
        self._send(
            404, json.dumps({"error": code}).encode(), {"Content-Type": "application/json", **told, **(headers or {})}
        )

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _all_paths(files: dict[str, bytes]) -> list[str]:
    """Files and the folders they lie in."""
    folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
    return sorted({*files, *folders})


def _entries(files: dict[str, bytes], paths: list[str]) -> list[dict[str, Any]]:
    known = set(_all_paths(files))
    commit = {"id": "0" * 40, "title": "data", "date": DATE}
    return [
        {"type": "file", "path": path, "oid": _oid(files[path]), "size": len(files[path]), "lastCommit": commit}
        if path in files
        else {"type": "directory", "path": path, "oid": _oid(path.encode()), "size": 0, "lastCommit": commit}
        for path in paths
        if path in known
    ]


def _info(name: str, commit: str, files: dict[str, bytes]) -> dict[str, Any]:
    open_to_all = {"private": False, "gated": False, "disabled": False}
    counts = {"downloads": 0, "likes": 0, "tags": [], "createdAt": DATE, "lastModified": DATE}
    siblings = [{"rfilename": path} for path in sorted(files)]
    return {
        "_id": commit[:24],
        "id": name,
        "modelId": name,
        "sha": commit,
        "siblings": siblings,
        **open_to_all,
        **counts,
    }
