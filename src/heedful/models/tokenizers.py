"""Loading a tokenizer, and a padding token that is never the end of an answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from heedful.models.folders import base_of_adapter, first_line, is_adapter, read_json, resolve
from heedful.models.quiet import quiet
from heedful.types import UserError

_SPARE = re.compile(r"pad|reserved|unused|extra", re.IGNORECASE)


def load_tokenizer(folder: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model folder (an adapter without one uses its base model's).

    Its padding token is one that cannot end an answer: its own if that differs from EOS, else a spare special token of
    its vocabulary, else none (nothing here needs padding to be a token).  Raises UserError without an EOS token.
    """
    from transformers import AutoTokenizer

    path = Path(folder)
    if is_adapter(path) and not (path / "tokenizer_config.json").is_file():
        return load_tokenizer(resolve(base_of_adapter(path)), trust_remote_code=trust_remote_code)
    if (path / "config.json").is_file():
        read_json(path / "config.json")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # Whatever is wrong with the files, the sentence is the same.
        if not any(path.glob("*token*")):
            raise UserError(f"{folder} holds no tokenizer: expected tokenizer.json in it") from error
        raise UserError(f"{folder} holds no tokenizer that loads: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer in {folder} has no EOS token, so no answer could end; "
            "set eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _spare_token(tokenizer)
    return tokenizer


def _spare_token(tokenizer: Any) -> str | None:
    used = {tokenizer.eos_token, tokenizer.bos_token, None}
    if tokenizer.unk_token not in used:
        return tokenizer.unk_token
    added = sorted(tokenizer.added_tokens_decoder.items())
    return next((str(t) for _, t in added if t.special and str(t) not in used and _SPARE.search(str(t))), None)
