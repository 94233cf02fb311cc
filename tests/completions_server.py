"""A small completions and chat server on loopback, in OpenAI's form, that can also be busy, broken or silent."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ALPHABET = "abc d\n"
"""Each character is a token, and the next is any of them with probability 1/6."""


@dataclass
class Script:
    """What the server does: the next answers' statuses (200 when there is none left), and what it was asked.

    silent: answers nothing at all.  logprobs: whether it gives them.  chat: what it says in a chat.  most: choices that
    it gives at most.  change: what becomes of a choice before it is sent.
    """

    statuses: list[int] = field(default_factory=list)
    silent: bool = False
    logprobs: bool = True
    chat: str = "1. first prompt\n2. second prompt"
    most: int | None = None
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def completions_server(script: Script) -> Iterator[str]:
    """The base URL of a server that acts by the script while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            script.asked.append(body)
            if script.silent:
                time.sleep(2)
                return
            status = script.statuses.pop(0) if script.statuses else 200
            content = self._answer(body) if status == 200 else {"error": {"message": f"status {status}"}}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(data)

        def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
            if self.path.endswith("/chat/completions"):
                return {"choices": [{"message": {"content": script.chat}} for _ in range(body.get("n", 1))]}
            draw = random.Random(body.get("seed"))
            choices = [script.change(self._choice(body, draw)) for _ in range(body.get("n", 1))]
            return {"choices": choices[: script.most]}

        def _choice(self, body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
            new = [draw.choice(ALPHABET) for _ in range(body["max_tokens"])]
            echoed = list(body["prompt"]) if body.get("echo") else []
            logps = [None if i == 0 and echoed else -math.log(len(ALPHABET)) for i in range(len(echoed) + len(new))]
            choice: dict[str, Any] = {"text": "".join([*echoed, *new]), "finish_reason": "length"}
            if script.logprobs and "logprobs" in body:
                choice["logprobs"] = {"tokens": [*echoed, *new], "token_logprobs": logps}
            return choice

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
