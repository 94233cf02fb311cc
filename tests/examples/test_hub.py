"""Hub names through the real loading code, against a hub of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from heedful.examples.hub import HubName, parse_hub_name
from tests.examples.hub_server import HubServer

ASK = """
import json, sys
from heedful.examples import load_with_report
from heedful.types import UserError
for data, split in json.loads(sys.argv[1]):
    try:
        examples, report = load_with_report(data, split=split)
        answer = [example.prompt[0].content for example in examples], examples[0].origin, report.sources[0].note
    except UserError as error:
        answer = str(error)
    print("ANSWER", json.dumps(answer))
"""


def rows(name: str) -> str:
    return "".join(json.dumps({"prompt": f"{name} {i}", "completion": "c"}) + "\n" for i in range(2))


def ask(hub: HubServer, home: Path, *questions: tuple[object, str]) -> list:
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(questions)],
        env=hub.env(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line.removeprefix("ANSWER ")) for line in done.stdout.splitlines() if line.startswith("ANSWER ")]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name", HubName("org/name")),
        ("org/name@v1", HubName("org/name", revision="v1")),
        ("org/name/config@v1#train_sft", HubName("org/name", "config", "v1", "train_sft")),
        ("org/name/a/b", HubName("org/name", "a/b")),
        ("org/na.me-1#test", HubName("org/na.me-1", split="test")),
        ("data/train.jsonl", None),
        ("data/train.jsonl.gz", None),
        ("./org/name", None),
        ("/org/name", None),
        ("name", None),
        ("../x/y", None),
    ],
)
def test_hub_names(text: str, parts: HubName | None) -> None:
    assert parse_hub_name(text) == parts


@pytest.mark.slow
def test_data_sets_of_a_hub(tmp_path: Path) -> None:
    configs = "- {config_name: one, data_files: one/*.jsonl}\n- {config_name: two, data_files: two/a.jsonl}\n"
    card = f"---\nconfigs:\n{configs}---\n"
    with HubServer() as hub:
        hub.add("dataset", "org/flat", {"train.jsonl": rows("new"), "test.jsonl": rows("test")})
        hub.add("dataset", "org/flat", {"train.jsonl": rows("old")}, revision="v1")
        hub.add("dataset", "org/two", {"README.md": card, "one/x.jsonl": rows("one"), "two/a.jsonl": rows("two")})
        hub.add("dataset", "org/dirs", {"helpful/train.jsonl": rows("help"), "harmless/train.jsonl": rows("harm")})
        answers = ask(
            hub,
            tmp_path,
            ("org/flat", "train"),
            ("org/flat", "eval"),
            ("org/flat#test", "train"),
            ("org/flat@v1", "train"),
            ("org/two/two", "train"),
            ("org/dirs/helpful", "train"),
            ("prompt-completion:1/-1:org/dirs/harmless", "train"),
            ("org/flat@v9", "train"),
            ("org/two", "train"),
            ("org/two/three", "train"),
            ("org/none", "train"),
            ("org/flat#nope", "train"),
        )
    assert answers[0] == [["new 0", "new 1"], "org/flat#train: row 1", None]
    assert answers[1][0] == answers[2][0] == ["test 0", "test 1"]
    assert answers[3] == [["old 0", "old 1"], "org/flat@v1#train: row 1", None]
    assert answers[4][0] == ["two 0", "two 1"]
    assert answers[5][0] == ["help 0", "help 1"]
    assert len(answers[6][0]) == 1
    assert answers[6][0][0] in ("harm 0", "harm 1")
    assert answers[7] == "the data set 'org/flat' has no revision 'v9'."
    assert "'one', 'two'" in answers[8]
    assert "'three' not found" in answers[9]
    assert "no folder 'three'" in answers[9]
    assert answers[10].startswith("'org/none' is neither a file or folder here nor a data set on the hub")
    assert answers[11].startswith("org/flat has no split 'nope'; it has train, test")
    assert not any("none" in path and method == "POST" for method, path in hub.requests)


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as hub:
        offline = {**hub.env(tmp_path), "HF_HUB_OFFLINE": "1"}
        monkeypatch.setattr(hub, "env", lambda home: offline)
        (answer,) = ask(hub, tmp_path, ("org/flat", "train"))
    assert answer.startswith("'org/flat' is no file or folder here, and the hub cannot be reached")
    assert hub.requests == []


@pytest.mark.slow
def test_the_server_serves_whole_repositories_to_snapshot_download(tmp_path: Path) -> None:
    """What tests of models build on."""
    code = "from huggingface_hub import snapshot_download; print(snapshot_download('org/model', revision='v2'))"
    big = bytes(range(256)) * 4096
    with HubServer() as hub:
        commit = hub.add("model", "org/model", {"config.json": "{}", "sub/weights.bin": big}, revision="v2")
        done = subprocess.run(
            [sys.executable, "-c", code], env=hub.env(tmp_path), capture_output=True, text=True, check=True
        )
    folder = Path(done.stdout.split()[-1])
    assert folder.name == commit
    assert (folder / "sub" / "weights.bin").read_bytes() == big
    assert (folder / "config.json").read_text() == "{}"
