"""Stages of a workflow that are done once: a finished one is recorded with the digest of what went into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heedful import __version__
from heedful.examples.io import replacing

FOLDER = "stages"


class Stages:
    """The stages of one workflow in the folder `out`.

    A stage is skipped if it finished before with the same inputs and its outputs are still there.  Its digest holds
    those of the stages it builds on, so a change begins again from there and no stage reads stale files.
    """

    def __init__(self, out: Path, echo: Callable[[str], None]) -> None:
        self.out, self.echo = out, echo
        self.digests: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    def run(
        self,
        name: str,
        work: Callable[[], None],
        *,
        after: Sequence[str] = (),
        inputs: Any = None,
        outputs: Sequence[Path],
        continues: bool = False,
    ) -> None:
        """Do the stage unless it is done.

        after: the stages it builds on, which have run.  inputs: settings, as JSON.  outputs: what it writes.
        continues: the work itself goes on from what a killed run left of the outputs (a training run does); otherwise,
            and whenever the inputs changed, they are deleted first.
        """
        digest = self._digest(name, [self.digests[stage] for stage in after], inputs)
        self.digests[name] = digest
        record = self._read(name)
        if record.get("digest") == digest and record.get("done") and all(path.exists() for path in outputs):
            self.seconds[name] = record["seconds"]
            self.echo(f"{name}: done before ({self.seconds[name]:.0f} s)")
            return
        before = record.get("seconds", 0.0) if record.get("digest") == digest and continues else None
        if before is None:
            for path in outputs:
                _delete(path)
        self._write(name, digest, done=False, seconds=before or 0.0)
        self.echo(f"{name} …")
        start = time.monotonic()
        work()
        # Rounded as it is stored, so that a report made again says the same to the last digit.
        self.seconds[name] = round((before or 0.0) + time.monotonic() - start, 2)
        self._write(name, digest, done=True, seconds=self.seconds[name])
        self.echo(f"{name}: {self.seconds[name]:.1f} s")

    def _digest(self, name: str, after: Sequence[str], inputs: Any) -> str:
        content = json.dumps([name, __version__, list(after), inputs], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _write(self, name: str, digest: str, *, done: bool, seconds: float) -> None:
        path = self._path(name)
        with replacing(path) as aside:
            aside.write_text(json.dumps({"digest": digest, "done": done, "seconds": seconds}), encoding="utf-8")

    def _path(self, name: str) -> Path:
        return self.out / FOLDER / f"{name.replace(' ', '-')}.json"


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
