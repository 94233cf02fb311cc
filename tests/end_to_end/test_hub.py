"""`model=org/name@revision` and `data=org/name` through the real hub code, against a hub of our own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.runs import assert_same_bits, environment, write_pairs
from tests.examples.hub_server import HubServer
from tests.fakes import save_tiny_model

pytestmark = pytest.mark.slow

COMMANDS = """
import json, sys
from heedful.cli import main

for words in json.loads(sys.argv[1]):
    print("STATUS", main(words), file=sys.stderr)
"""
SETTINGS = ["steps=2", "batch_size=4", "threads=1", "max_length=128", "tokens_per_pack=400", "lr=1e-3", "device=cpu"]


@dataclass
class Hub:
    """home: of a user who has trained from the hub already, into `home/first`; server: still serving."""

    server: HubServer
    home: Path

    def heed(self, *commands: list[str], home: Path | None = None, **variables: str) -> list[tuple[int, str]]:
        """(exit status, what stderr said) of each command, run one after the other in a process with this hub."""
        home = home or self.home
        home.mkdir(exist_ok=True)
        own = environment(home) | self.server.env(home / "hf") | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
        own.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            env=own | {"XDG_CACHE_HOME": str(home / "cache")} | variables,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        said = done.stderr.split("STATUS ")
        statuses = [int(part.split()[0]) for part in said[1:]]
        return list(zip(statuses, [said[0], *(part.partition("\n")[2] for part in said[1:])], strict=False))


def train(model: str, data: str, out: str, *words: str) -> list[str]:
    return ["train", "dpo", f"model={model}", f"data={data}", f"out={out}", *SETTINGS, *words]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("hub")
    old, new = save_tiny_model(place / "old"), save_tiny_model(place / "new", seed=1)
    train_rows, test_rows = write_pairs(place / "train.jsonl", 12), write_pairs(place / "test.jsonl", 20)
    held_out = "".join(test_rows.read_text().splitlines(keepends=True)[12:])
    with HubServer() as server:
        server.add_folder("model", "org/tiny", old, revision="v1")
        server.add_folder("model", "org/tiny", new)
        server.add("dataset", "org/pairs", {"train.jsonl": train_rows.read_text(), "test.jsonl": held_out})
        hub = Hub(server, place / "home")
        on_hub = train("org/tiny@v1", "org/pairs", "first", "eval_data=org/pairs#test")
        on_disk = train(str(old), str(train_rows), "local", f"eval_data={place / 'held_out.jsonl'}")
        (place / "held_out.jsonl").write_text(held_out)
        ((first, said), (local, _)) = hub.heed(on_hub, on_disk)
        assert (first, local) == (0, 0), said
        yield hub


def test_a_revision_of_a_model_on_data_of_the_hub(hub: Hub) -> None:
    """The bits of the same files on the disk; the newer revision's weights would give others."""
    assert_same_bits(hub.home / "local", hub.home / "first")
    report = json.loads((hub.home / "first" / "data.json").read_text())
    assert (report["train"]["num_trained"], report["eval"]["num_trained"]) == (12, 8)
    fetched = [path for method, path in hub.server.requests if method == "GET" and path.endswith("model.safetensors")]
    assert len(fetched) == 1, "the weights are fetched once"


def test_what_the_hub_does_not_have_is_a_sentence(hub: Hub) -> None:
    answers = hub.heed(
        train("org/tiny@v9", "org/pairs", "run"),
        train("org/none", "org/pairs", "run"),
        train("org/tiny", "org/none", "run"),
        train("org/tiny", "org/pairs@v9", "run"),
    )
    assert [status for status, _ in answers] == [2, 2, 2, 2]
    for (_, said), part in zip(answers, ("v9", "model=org/none", "'org/none'", "revision 'v9'"), strict=True):
        assert part in said
        assert len([line for line in said.splitlines() if line.startswith("heed:")]) == 1
    assert not (hub.home / "run").exists()


def test_offline_what_was_fetched_once_still_trains(hub: Hub) -> None:
    asked = len(hub.server.requests)
    again = train("org/tiny@v1", "org/pairs", "again", "eval_data=org/pairs#test")
    (trained, said), *refused = hub.heed(
        again, train("org/other", "org/pairs", "x"), train("org/tiny@v1", "org/others", "x"), HF_HUB_OFFLINE="1"
    )
    assert trained == 0, said
    assert_same_bits(hub.home / "first", hub.home / "again")
    for (status, sentence), name in zip(refused, ("org/other", "org/others"), strict=True):
        assert status == 2
        assert name in sentence
        assert "cannot be reached" in sentence
    assert len(hub.server.requests) == asked


def test_without_a_hub_and_without_a_cache(hub: Hub, tmp_path: Path) -> None:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    ((status, said),) = hub.heed(train("org/tiny", "org/pairs", "run"), home=tmp_path, HF_ENDPOINT=nowhere)
    assert status == 2
    assert "model=org/tiny: no such folder, and the hub cannot be reached" in said
    assert not (tmp_path / "run").exists()
