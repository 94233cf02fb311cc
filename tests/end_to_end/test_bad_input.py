"""What people get wrong: one sentence that names it and how to mend it, status 2; nothing written, loaded or run."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from heedful.cli.root import main
from tests.end_to_end.runs import environment
from tests.fakes import save_tiny_model

ROWS = [
    json.dumps({"prompt": f"Say {i}:", "chosen": f" the number {i}", "rejected": f" no {i % 3}"}) for i in range(12)
]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
OWN_CODE = """
open("code-ran", "w").write("")
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig): model_type = "mine"
class Model(LlamaForCausalLM): config_class = Config
"""


class Evil:
    """A pickle that writes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch code-ran",)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good model, good pairs, and every kind of bad file."""
    folder = tmp_path_factory.mktemp("bad")
    save_tiny_model(folder / "tiny")
    for name, text in {
        "pairs.jsonl": _lines(*ROWS),
        "broken-row.jsonl": _lines(*ROWS[:3], '{"prompt": ', *ROWS[3:]),
        "list-row.jsonl": _lines(*ROWS[:3], "[1, 2]"),
        "number.jsonl": _lines(*ROWS[:3], '{"prompt": "a", "chosen": 5, "rejected": "b"}'),
        "no-column.jsonl": _lines('{"prompt": "a", "chosen": "b"}'),
        "late-column.jsonl": _lines(*ROWS[:3], '{"prompt": "a", "chosen": "b"}'),
        "one-prompt.jsonl": _lines(*(f'{{"prompt": "a", "chosen": "b{i}", "rejected": "c"}}' for i in range(4))),
        "empty.jsonl": "",
        "pointer.jsonl": POINTER,
        "a-file": "x",
        "indent.yaml": "lr: 1\n bs: 2\n",
        "typo.yaml": "lr: 1e-4\nbatchsize: 4\n",
        "list.yaml": "- a\n",
        "kto.yaml": "objective: kto\n",
        "mine.py": "def loss(x): return 1\n",
        "syntax.py": "def f(:\n",
        "reader.py": "def read(split):\n    yield {'prompt': 'a'}\n    raise ValueError('no more')\n",
    }.items():
        (folder / name).write_text(text)
    (folder / "binary.jsonl").write_bytes(b"\xff\xfe\x00\x01" * 10)
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(_lines(*ROWS).encode())[:-20])
    _bad_models(folder)
    return folder


def _bad_models(folder: Path) -> None:
    def copy(name: str, *without: str) -> Path:
        shutil.copytree(folder / "tiny", folder / name)
        for file in without:
            (folder / name / file).unlink()
        return folder / name

    weights = "model.safetensors"
    copy("no-weights", weights)
    copy("no-config", "config.json")
    copy("no-tokenizer", "tokenizer.json", "tokenizer_config.json")
    (copy("pointer") / weights).write_text(POINTER)
    (copy("damaged") / weights).write_bytes(b"123")
    (copy("bad-config") / "config.json").write_text("{")
    torch.save({"x": Evil()}, copy("evil", weights) / "pytorch_model.bin")
    (copy("evil-pickle", weights) / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil()}))
    _edit(copy("no-eos") / "tokenizer_config.json", lambda settings: settings.pop("eos_token"))
    code = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    _edit(copy("own-code") / "config.json", lambda settings: settings.update(model_type="mine", auto_map=code))
    (folder / "own-code" / "code.py").write_text(OWN_CODE)
    shutil.copytree(folder / "tiny", folder / "other-tokens")
    save_tiny_model(folder / "other-tokens", tokenizer=_other_tokenizer())


def _other_tokenizer() -> Any:
    from tests.fakes import tiny_tokenizer

    return tiny_tokenizer(["quite other words, zebra, zebra, zebra"], 300)


def _edit(path: Path, change: Any) -> None:
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))


def _lines(*rows: str) -> str:
    return "".join(row + "\n" for row in rows)


TRAIN = "train dpo model=tiny data=pairs.jsonl max_length=64 steps=2 cache_dir=cache"
"""A good command; a case replaces or adds words."""


def words_of(case: str) -> list[str]:
    """The words of a case; those that begin with `~` are laid over TRAIN."""
    if not case.startswith("~"):
        return case.split()
    own = case[1:].split()
    named = {word.split("=")[0] for word in own if "=" in word}
    objective = [word for word in own if word.startswith("objective:")]
    words = [word for word in TRAIN.split() if word.split("=")[0] not in named]
    if objective:
        words[1] = objective[0].removeprefix("objective:")
    return [*words, *(word for word in own if word not in objective)]


DATA = {
    "~data=broken-row.jsonl": ["broken-row.jsonl:4", "not valid JSON"],
    "~data=list-row.jsonl": ["list-row.jsonl:4", "a list"],
    "~data=number.jsonl": ["number.jsonl:4", "'chosen' must be a text"],
    "~data=late-column.jsonl": ["late-column.jsonl:4", "no column 'rejected'"],
    "~data=no-column.jsonl": [
        "no-column.jsonl:1",
        "no reader reads the columns prompt, chosen",
        "preference: no column 'rejected'",
        "unpaired: no columns 'completion', 'label'",
        "hh-scored: no columns 'prefix'",
    ],
    "~data=empty.jsonl": ["empty.jsonl", "no example"],
    "~data=binary.jsonl": ["binary.jsonl:1", "not UTF-8"],
    "~data=cut.jsonl.gz": ["cut.jsonl.gz", "damaged or cut short"],
    "~data=pointer.jsonl": ["pointer.jsonl", "git-LFS pointer", "git lfs pull"],
    "~data=pears.jsonl": ["'pears.jsonl'", "did you mean pairs.jsonl?"],
    "~data=nowhere/x.jsonl": ["no folder 'nowhere'"],
    "~data=hh:much:pairs.jsonl": ["hh:much"],
    "~data=pairs.jsonl reader=preferense": ["did you mean preference?"],
    "~data=mine readers=[reader.py:reed]": ["reader.py has no function 'reed'", "did you mean read?"],
    "~data=read readers=[reader.py:read]": ["reader.py", "no more"],
    "~objective:kto data=one-prompt.jsonl": ["different prompts", "two at least"],
    "~max_length=3": ["does not fit in max_length=3"],
    "data convert pairs.jsonl out.txt": ["out.txt", ".jsonl"],
    "data convert pairs.jsonl out.jsonl --to pref": ["pref", "preference"],
    "data convert pairs.jsonl a-file/out.jsonl": ["a-file/out.jsonl", "cannot be written"],
    "data show dpo model=tiny data=pairs.jsonl cache_dir=cache --num 0": ["num=0"],
}
SETTINGS = {
    "~bacth_size=4": ["bacth_size (the command line)", "did you mean batch_size?"],
    "~learning_rate=4": ["did you mean lr?"],
    "~objective.bta=1": ["did you mean beta?"],
    "~lora.rank=1": ["lora.rank is not a setting", "lora has r,"],
    "~lr=fast": ["lr=fast", "must be a number"],
    "~batch_size=0": ["batch_size=0", "above 0"],
    "~beta=-1": ["objective.beta=-1", "above 0"],
    "~--lr 3": ["written without dashes, as lr=VALUE"],
    "~steps": ["steps=VALUE"],
    "~demo/dop": ["did you mean demo/dpo?"],
    "~recipe=demo/dpo": ["a recipe is a word by itself"],
    "~--config typo.yaml": ["batchsize (typo.yaml line 2)", "did you mean batch_size?"],
    "~--config indent.yaml": ["indent.yaml line 2", "not YAML"],
    "~--config list.yaml": ["list.yaml", "a list"],
    "~--config none.yaml": ["none.yaml", "no such file"],
    "~--config kto.yaml": ["kto.yaml line 1", "objective kto"],
    "~optimizer=Adamw": ["did you mean AdamW?"],
    "~template=chatlm": ["template=chatlm", "chatml"],
    "~eval_every=3": ["eval_every needs an evaluation set"],
    "~device=cuda": ["device=cuda"],
    "~tokens_per_pack=3": ["tokens_per_pack=3", "or more"],
    "~objective:dppo": ["no objective 'dppo'", "did you mean dpo?"],
    "~objective:none.py:loss": ["none.py", "there is no file"],
    "~objective:mine.py:lose": ["no function 'lose'", "it has loss"],
    "~objective:mine.py:loss": ["annotate its first parameter"],
    "~objective:syntax.py:f": ["syntax.py", "SyntaxError"],
    "train": ["heed train needs OBJECTIVE"],
    "train dpo model=tiny": ["data is missing"],
    "trian dpo": ["did you mean train?"],
    "recipes demo/dop": ["did you mean demo/dpo?"],
    "objectives dop": ["did you mean dpo?"],
}
MODELS = {
    "~model=tniy": ["model=tniy", "no such folder", "did you mean tiny?"],
    "~model=someone/none": ["model=someone/none", "hub cannot be reached"],
    "~model=a-file": ["model=a-file is a file"],
    "~model=no-weights": ["no-weights holds no weights", "model.safetensors"],
    "~model=no-config": ["no-config holds no model", "config.json"],
    "~model=bad-config": ["bad-config/config.json cannot be read as JSON"],
    "~model=no-tokenizer": ["no-tokenizer holds no tokenizer"],
    "~model=no-eos": ["no EOS token", "set eos_token"],
    "~model=pointer": ["pointer/model.safetensors", "git-LFS pointer", "git lfs pull"],
    "~model=own-code": ["own modelling code", "trust_remote_code=true"],
    "~reference=nowhere": ["reference=nowhere", "no such folder"],
    "~reference=other-tokens": ["reference=other-tokens", "vocabulary"],
    "~adapter=nowhere": ["adapter=nowhere"],
    "score tiny pairs.jsonl": ["tiny is a language model, not a reward model"],
    "score nowhere pairs.jsonl": ["nowhere", "no such folder"],
    "sample tiny pairs.jsonl --temperature -1": ["temperature=-1"],
    "sample tiny pairs.jsonl --out a-file/x.jsonl": ["a-file/x.jsonl", "cannot be written"],
    "sample tiny none.jsonl": ["none.jsonl"],
    "model convert evil out": ["evil/pytorch_model.bin cannot be loaded safely"],
    "model convert tiny out": ["nothing to convert"],
    "model merge tiny out": ["not an adapter"],
    "model new tiny pairs.jsonl": ["tiny exists"],
    "model new out pairs.jsonl --heads 3": ["multiple of heads=3"],
    "report tiny": ["tiny is not a run folder"],
}
FOLDERS = {
    "~out=a-file": ["out=a-file is a file"],
    "~out=a-file/run": ["out=a-file/run", "cannot be written to"],
    "~out=/proc/run": ["/proc cannot be written to"],
    "~out=tiny": ["out=tiny is not empty", "name another folder"],
    "~out=tiny overwrite=true": ["out=tiny is not empty", "overwrite=true deletes runs alone"],
    "~cache_dir=a-file/cache": ["a-file/cache cannot be written to", "cache_dir=FOLDER"],
}
WEIGHTS = {
    "~model=damaged": ["the weights in damaged do not load"],
    "~model=evil": ["evil/pytorch_model.bin cannot be loaded safely"],
    "~model=evil-pickle": ["evil-pickle/pytorch_model.bin cannot be loaded safely"],
    "~adapter=tiny": ["adapter=tiny", "not a PEFT adapter"],
    "~lora={targets:[nothing]}": ["lora.targets", "nothing"],
}
"""Found in the weights themselves, so that somebody has to open them."""


def refused(case: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """The sentence that a case ends with, after what must hold for every one of them."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = _everything(place)
    status = main(words_of(case))
    said = capfd.readouterr().err
    assert status == 2, said
    assert said.startswith("heed: ")
    assert said.count("\n") == 1, said
    assert _everything(place) == before
    return said


def _everything(folder: Path) -> dict[Path, int]:
    files = (path for path in folder.rglob("*") if "cache" not in path.parts and "__pycache__" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize(("case", "names"), (DATA | SETTINGS | MODELS | FOLDERS).items())
def test_refused_before_any_weight_is_read(
    case: str, names: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers

    def no_weights(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were read")

    if case not in ("~device=cuda", "~tokens_per_pack=3"):  # the model's shape decides
        monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", no_weights)
    said = refused(case, place, monkeypatch, capfd)
    assert [name for name in names if name not in said] == [], said


@pytest.mark.parametrize(("case", "names"), WEIGHTS.items())
def test_refused_by_the_weights(
    case: str, names: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(case, place, monkeypatch, capfd)
    assert [name for name in names if name not in said] == [], said


def test_data_that_changed_under_a_run_is_refused_and_the_run_left_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(place / "pairs.jsonl", tmp_path)
    shutil.copytree(place / "tiny", tmp_path / "tiny")
    assert main(words_of("~out=run checkpoint_every=1")) == 0
    shutil.rmtree(tmp_path / "run" / "final")  # as if it had been killed
    (tmp_path / "pairs.jsonl").write_text(_lines(*ROWS[1:]))
    capfd.readouterr()
    said = refused("~out=run checkpoint_every=1", tmp_path, monkeypatch, capfd)
    assert "data (or the tokenizer) changed" in said
    assert "overwrite=true" in said


def test_a_model_that_changed_under_a_run_is_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An adapter would go on upon another base, held to another reference."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(place / "pairs.jsonl", tmp_path)
    shutil.copytree(place / "tiny", tmp_path / "tiny")
    assert main(words_of("~out=run checkpoint_every=1 lora.r=2")) == 0
    shutil.rmtree(tmp_path / "run" / "final")  # as if it had been killed
    weights = load_file(tmp_path / "tiny" / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, tmp_path / "tiny" / "model.safetensors")
    capfd.readouterr()
    said = refused("~out=run checkpoint_every=1 lora.r=2", tmp_path, monkeypatch, capfd)
    assert "model=tiny holds another model than when this run began" in said


def test_files_of_settings_merge_key_by_key_and_the_last_wins(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A task file and a method file, then the command line; the dry run says what came of them."""
    monkeypatch.chdir(place)
    (place / "task.yaml").write_text(
        "model: tiny\ndata: pairs.jsonl\nmax_length: 64\nbatch_size: 3\ncache_dir: cache\n"
    )
    (place / "method.yaml").write_text("objective: {name: dpo, beta: 0.3}\nbatch_size: 4\nsteps: 7\n")
    words = words_of("train dpo --config task.yaml --config method.yaml objective.beta=0.25 steps=5 --dry-run")
    assert main(words) == 0
    said = capfd.readouterr().out
    assert "dpo(beta=0.25" in said
    assert "5 steps of 4 prompts" in said


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own_has_no_traceback(place: Path, tmp_path: Path) -> None:
    for case in ("~model=evil-pickle", "~data=broken-row.jsonl"):
        heed = [sys.executable, "-m", "heedful", *words_of(case)]
        done = subprocess.run(heed, cwd=place, env=environment(tmp_path), capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
    assert not list(place.rglob("code-ran"))


def test_a_final_model_that_cannot_be_written_names_the_last_checkpoint(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from heedful.training import assemble

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    for name in ("pairs.jsonl", "tiny"):
        (tmp_path / name).symlink_to(place / name)
    with monkeypatch.context() as patch:
        patch.setattr(assemble, "flush_tree", full)
        assert main(words_of("~out=run checkpoint_every=1")) == 1
    said = capfd.readouterr().err
    assert "run/final could not be written" in said
    assert "No space left" in said
    assert "The last checkpoint is run/checkpoints/step-" in said
    assert not list((tmp_path / "run").glob("*final*"))
    assert main(words_of("~out=run checkpoint_every=1")) == 0  # the same command goes on
