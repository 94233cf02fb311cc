"""Folders: which of their files hold the split that is asked for; data sets that `save_to_disk` wrote.

The split of a file is what its README's configuration says, or the word in its path (`train`, `validation`, `test`
and their usual synonyms) as on the Hugging Face hub.  Nothing here touches the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from heedful.config.suggest import did_you_mean
from heedful.examples.rows import OriginRow, is_data, is_text, refuse_pointer
from heedful.types import UserError

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
ASKED = {"eval": ("validation", "test")}
"""What a split that is asked for may be called: evaluation prefers the validation split to the test split."""

NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "package.json")


def choose_split(names: Sequence[str], asked: str, where: str) -> tuple[str, str | None]:
    """(the split of `where` to read, a note if it is not the one asked for).

    A split may have a suffix (`train_prefs`) if it is the only one that has.  A source with a single split is that
    split, whatever is asked.  Raises UserError listing the splits where the choice is open.
    """
    for word in ASKED.get(asked, (asked,)):
        if word in names:
            return word, None
        suffixed = [name for name in names if re.match(rf"{re.escape(word)}[_.\-]", name)]
        if len(suffixed) == 1:
            return suffixed[0], None
        if suffixed:
            choices = " or ".join(f"{where}#{name}" for name in suffixed)
            raise UserError(f"{where} has several {word} splits; name one: {choices}.")
    if len(names) == 1:
        return names[0], f"{where} has no {asked} split; its only split, {names[0]}, is read"
    raise UserError(
        f"{where} has no split {asked!r}{did_you_mean(asked, names)}; it has {', '.join(names)}"
        f" (name one as {where}#{names[0] if names else 'SPLIT'})."
    )


def files_of(folder: Path, split: str, *, documents: bool = False) -> tuple[list[Path], str | None]:
    """(the files of a folder that hold `split`, in order of name; a note as of `choose_split`).

    documents: text and source files even where there are data files.
    A folder without data files is a folder of documents, without splits.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    data = [] if documents else [path for path in files if is_data(path) and path.name not in NO_DATA]
    if not data:
        texts = [path for path in files if is_text(path) and not _is_card(path)]
        if not texts:
            raise UserError(f"{folder} holds no data files (.jsonl, .json, .parquet, .csv) and no text files.")
        return texts, None
    splits = _configured(folder) or _named_splits(folder, data)
    if not splits:
        return data, None
    name, note = choose_split(list(splits), split, str(folder))
    return splits[name], note


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _is_card(path: Path) -> bool:
    """A README with a YAML header describes a data set and is none of its documents."""
    return path.name == "README.md" and path.open("rb").read(4) == b"---\n"


def _named_splits(folder: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split their path names; those that name none are for training.  Empty if none names any."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_word(file.relative_to(folder).as_posix()), []).append(file)
    if "" in splits:
        unnamed = splits.pop("")
        if splits:
            splits["train"] = sorted(splits.get("train", []) + unnamed)
    return splits


def _split_word(path: str) -> str:
    """The split named last in a path: `test/train-notes.jsonl` is for training."""
    found = [
        (match.start(), split)
        for split, words in SPLIT_WORDS.items()
        for match in re.finditer(rf"(?:^|[-._ 0-9/])(?:{'|'.join(words)})(?=[-._ 0-9/]|$)", path.lower())
    ]
    return max(found)[1] if found else ""


def _configured(folder: Path) -> dict[str, list[Path]]:
    """The splits that the YAML header of README.md names (`configs: [{config_name, data_files}]`); empty if none."""
    card = folder / "README.md"
    if not card.is_file() or not _is_card(card):
        return {}
    import yaml

    header = card.read_text(encoding="utf-8").split("\n---", 1)[0]
    try:
        configs = (yaml.safe_load(header) or {}).get("configs") or []
    except yaml.YAMLError:
        return {}
    configs = [config for config in configs if config.get("data_files")]
    if not configs:
        return {}
    return _config_files(folder, _default_config(folder, configs)["data_files"])


def _default_config(folder: Path, configs: list[dict[str, Any]]) -> dict[str, Any]:
    names = [str(config.get("config_name")) for config in configs]
    preferred = [config for config in configs if config.get("default") or config.get("config_name") == "default"]
    if len(configs) > 1 and not preferred:
        raise UserError(f"{folder} has the configurations {', '.join(names)} and no default; name the files of one.")
    return (preferred or configs)[0]


def _config_files(folder: Path, data_files: Any) -> dict[str, list[Path]]:
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    if isinstance(data_files, str) or (data_files and isinstance(data_files[0], str)):
        data_files = [{"split": "train", "path": data_files}]
    splits: dict[str, list[Path]] = {}
    for entry in data_files:
        patterns = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        splits[entry["split"]] = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
        if not splits[entry["split"]]:
            raise UserError(f"{folder}/README.md names {patterns[0]!r} for its {entry['split']} split; no such file.")
    return splits


# save_to_disk


def is_saved(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def saved_rows(folder: Path, split: str) -> tuple[Iterator[OriginRow], str | None]:
    """(rows of a folder that `save_to_disk` wrote, a note as of `choose_split`)."""
    import datasets

    for file in folder.rglob("*.arrow"):
        refuse_pointer(file)
    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise UserError(f"{folder} looks like a saved data set and cannot be loaded: {error}.") from error
    if isinstance(saved, datasets.DatasetDict):
        name, note = choose_split([str(name) for name in saved], split, str(folder))
        return arrow_rows(saved[name], f"{folder}#{name}"), note
    return arrow_rows(saved, str(folder)), None


def arrow_rows(dataset: Any, where: str) -> Iterator[OriginRow]:
    """The rows of a `datasets.Dataset`, as stored (nothing is decoded)."""
    number = 0
    for table in dataset.with_format("arrow").iter(batch_size=1024):
        for row in table.to_pylist():
            number += 1
            yield f"{where}: row {number}", row
