"""Token streams on disk: written once, named by their content, memory-mapped by every process that trains on them.

A store is a folder of flat little-endian arrays and a `store.json`.  Axes: `E` examples, `R` responses (all examples'
responses one after the other), `P` prompt tokens, `T` response tokens, `N` trained response tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32

from heedful.tokens.columns import COLUMNS, NAN, components_of, labels_of
from heedful.tokens.encoded import EncodedExample
from heedful.types import Example, RunError

VERSION = 3
META = "store.json"
ARRAYS: dict[str, str] = {
    "prompt_ids": "<i4",
    "prompt_offsets": "<i8",
    "response_ids": "<i4",
    "response_trained": "|b1",
    "token_scores": "<f4",
    "response_offsets": "<i8",
    "trained_offsets": "<i8",
    "example_responses": "<i8",
    "example_rows": "<i8",
    "origins": "|u1",
    "origin_offsets": "<i8",
    **{f"column_{name}": "<f4" for name in COLUMNS},
}


class TokenStore:
    """Tokenised examples, read through memory maps; build one with `write`, or `open` a folder.

    digest: of token ids, masks and columns (not of origins): equal digests mean equal training data.
    example_responses (E+1,): responses of example e are rows [er[e], er[e+1]).
    example_lengths (E,): prompt and all responses, the tokens the example takes in a pack.
    example_rows (E,): which of the examples given to `write` each one came from.
    token_scores (T,): the misalignment score of every response token, NaN where nobody judged; empty but for documents.
    trained_offsets (R+1,): the trained tokens of response r are [to[r], to[r+1]) of any per-trained-token column.
    columns: per response float32 (R,), NaN where nobody judged; see `columns.COLUMNS`, and a `reward/NAME` for each
    source of a composed reward.
    is_mismatched (R,): whether the response answers another prompt (see `examples.mismatched`).
    """

    def __init__(self, path: Path, meta: dict[str, Any]):
        self.path = path
        self.digest: str = meta["digest"]
        arrays = {name: _map(path, name, dtype, meta["sizes"][name]) for name, dtype in ARRAYS.items()}
        self._prompt_ids, self._prompt_offsets = arrays["prompt_ids"], arrays["prompt_offsets"]
        self._response_ids, self._response_offsets = arrays["response_ids"], arrays["response_offsets"]
        self._response_trained = arrays["response_trained"]
        self.token_scores = arrays["token_scores"]
        self._origins, self._origin_offsets = arrays["origins"], arrays["origin_offsets"]
        self.trained_offsets = arrays["trained_offsets"]
        self.example_responses = arrays["example_responses"]
        self.example_rows = arrays["example_rows"]
        self.num_examples = len(self.example_responses) - 1
        self.num_responses = len(self._response_offsets) - 1
        self.columns: dict[str, np.ndarray] = {name: arrays[f"column_{name}"] for name in COLUMNS}
        for i, name in enumerate(meta["components"]):
            self.columns[name] = _map(path, _component(i), "<f4", self.num_responses)
        self.is_mismatched = self.columns["mismatched"] > 0.5
        self.prompt_lengths = np.diff(self._prompt_offsets)
        self.response_lengths = np.diff(self._response_offsets)
        self.example_lengths = self.prompt_lengths + np.diff(self._response_offsets[self.example_responses])

    @staticmethod
    def write(path: str | Path, encoded: Iterable[EncodedExample], examples: Sequence[Example]) -> TokenStore:
        """Write `encoded` to the folder `path` and open it.

        examples: what was encoded; `encoded[i].row` says which of them, and its labels become the columns.
        """
        return TokenStore.write_stream(path, ((item, examples[item.row]) for item in encoded))

    @staticmethod
    def write_stream(path: str | Path, encoded: Iterable[tuple[EncodedExample, Example]]) -> TokenStore:
        """As `write`, each tokenised example with what it was made of, which is forgotten once it is written.

        The folder is written aside and renamed: it exists whole or not at all.  If another process was faster,
        its folder is kept and opened.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            os.chmod(aside, 0o777 & ~_umask())
            _write_arrays(aside, encoded)
            try:
                os.rename(aside, path)
            except OSError:
                if not (path / META).is_file():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return TokenStore.open(path)

    @staticmethod
    def open(path: str | Path) -> TokenStore:
        """Map the store in folder `path`.  Raises RunError if it is not a whole store of this version."""
        path = Path(path)
        try:
            meta = json.loads((path / META).read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is not a token store ({error}); delete it and it will be made again") from None
        if meta.get("version") != VERSION:
            raise RunError(f"{path} is a token store of version {meta.get('version')}, not {VERSION}; delete it")
        return TokenStore(path, meta)

    def prompt_tokens(self, e: int) -> Int32[np.ndarray, " L"]:
        """The prompt's token ids of example `e`."""
        return self._prompt_ids[self._prompt_offsets[e] : self._prompt_offsets[e + 1]]

    def response_tokens(self, r: int) -> Int32[np.ndarray, " L"]:
        """The token ids of response `r`, end of turn included."""
        return self._response_ids[self._response_offsets[r] : self._response_offsets[r + 1]]

    def response_trained(self, r: int) -> Bool[np.ndarray, " L"]:
        """Which tokens of response `r` are trained."""
        return self._response_trained[self._response_offsets[r] : self._response_offsets[r + 1]]

    def scores_of(self, r: int) -> Float32[np.ndarray, " L"]:
        """The misalignment scores of response `r`'s tokens; none where documents were not scored."""
        return self.token_scores[self._response_offsets[r] : self._response_offsets[r + 1]]

    def responses_of(self, e: int) -> range:
        """The responses of example `e`."""
        return range(int(self.example_responses[e]), int(self.example_responses[e + 1]))

    def sum_by_example(self, per_response: np.ndarray) -> np.ndarray:
        """Totals (E,) over each example's responses of a quantity (R,)."""
        totals = np.concatenate([[0], np.cumsum(per_response)])
        return np.diff(totals[self.example_responses])

    def example_of(self, r: int) -> int:
        """The example that response `r` belongs to."""
        return int(np.searchsorted(self.example_responses, r, side="right")) - 1

    def count_tokens(self, index: int) -> int:
        """How often a token stands in the responses."""
        return int((self._response_ids == index).sum())

    def first_unscored(self) -> int:
        """The first example with a token that nobody judged."""
        token = int(np.argmax(np.isnan(self.token_scores)))
        return self.example_of(int(np.searchsorted(self._response_offsets, token, side="right")) - 1)

    def response_key(self, r: int) -> bytes:
        """16 bytes that name response `r` by content: prompt ids, response ids and mask; equal in any store."""
        prompt, ids = self.prompt_tokens(self.example_of(r)), self.response_tokens(r)
        key = hashlib.blake2b(np.array([len(prompt), len(ids)], "<i8").tobytes(), digest_size=16)
        for part in (prompt, ids, self.response_trained(r)):
            key.update(part.tobytes())
        return key.digest()

    def origin(self, e: int) -> str:
        """Where example `e` was read from (file and row, hub name and row), for messages."""
        return self._origins[self._origin_offsets[e] : self._origin_offsets[e + 1]].tobytes().decode()

    def __len__(self) -> int:
        return self.num_examples


def _map(path: Path, name: str, dtype: str, size: int) -> np.ndarray:
    file = path / f"{name}.bin"
    if size == 0:
        return np.empty(0, dtype)  # an empty file cannot be mapped
    try:
        return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=(size,)))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged ({error}); delete the folder and it will be made again") from None


def _write_arrays(folder: Path, encoded: Iterable[tuple[EncodedExample, Example]]) -> None:
    """Stream token ids to disk, keep the small arrays in memory, and finish with the metadata."""
    prompt_lengths, response_lengths, trained_counts, num_responses, rows = [], [], [], [], []
    labels: list[list[float]] = []
    components: list[dict[str, float]] = []
    origins: list[bytes] = []
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open(folder / f"{name}.bin", "wb"))
            for name in ("prompt_ids", "response_ids", "response_trained", "token_scores")
        }
        for item, example in encoded:
            files["prompt_ids"].write(np.ascontiguousarray(item.prompt_ids, "<i4").tobytes())
            prompt_lengths.append(len(item.prompt_ids))
            num_responses.append(len(item.responses))
            rows.append(item.row)
            origins.append((example.origin or example.id or f"example {item.row + 1}").encode())
            for k, response in enumerate(item.responses):
                files["response_ids"].write(np.ascontiguousarray(response.ids, "<i4").tobytes())
                files["response_trained"].write(np.ascontiguousarray(response.trained, "|b1").tobytes())
                if response.scores is not None:
                    files["token_scores"].write(np.ascontiguousarray(response.scores, "<f4").tobytes())
                response_lengths.append(len(response.ids))
                trained_counts.append(int(response.trained.sum()))
                labels.append(labels_of(example, example.responses[k], k))
                components.append(components_of(example.responses[k]))
    table = np.array(labels, dtype="<f4").reshape(len(labels), len(COLUMNS))
    small = {
        "prompt_offsets": _offsets(prompt_lengths),
        "response_offsets": _offsets(response_lengths),
        "trained_offsets": _offsets(trained_counts),
        "example_responses": _offsets(num_responses),
        "example_rows": np.array(rows, "<i8"),
        "origins": np.frombuffer(b"".join(origins), "|u1"),
        "origin_offsets": _offsets([len(origin) for origin in origins]),
        **{f"column_{name}": np.ascontiguousarray(table[:, i]) for i, name in enumerate(COLUMNS)},
    }
    for name, array in small.items():
        array.astype(ARRAYS[name], copy=False).tofile(folder / f"{name}.bin")
    sizes = {name: (folder / f"{name}.bin").stat().st_size // np.dtype(ARRAYS[name]).itemsize for name in ARRAYS}
    names = sorted({name for row in components for name in row})
    for i, name in enumerate(names):
        np.array([row.get(name, NAN) for row in components], "<f4").tofile(folder / f"{_component(i)}.bin")
    meta = {"version": VERSION, "digest": _digest(folder, names), "sizes": sizes, "components": names}
    (folder / META).write_text(json.dumps(meta, indent=1))


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.array([0, *accumulate(lengths)], "<i8")


def _component(i: int) -> str:
    """The file of the i-th source of a composed reward, whose name may not be fit for one."""
    return f"component_{i}"


def _digest(folder: Path, components: Sequence[str]) -> str:
    """Of everything a training step can see, in the order of `ARRAYS`."""
    digest = hashlib.blake2b(json.dumps(components).encode(), digest_size=16)
    seen = [name for name in ARRAYS if not name.startswith("origin") and name != "example_rows"]
    for name in [*seen, *map(_component, range(len(components)))]:
        path = folder / f"{name}.bin"
        digest.update(f"{name}:{path.stat().st_size};".encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
