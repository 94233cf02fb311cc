"""Control tokens: special tokens between prompt and answer that say what kind of answer follows (`<|good|>` …).

To the model they are the end of the prompt: never trained on, never cut.  In the store a response begins with its own,
so that the good and the bad answers of one prompt still share the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heedful.examples.shape import Shaped
from heedful.types import Example, Response, UserError

CONTROL = "control"
"""Where a response keeps its control token: `Response.extra["control"]`."""

_MARK = "{# control token #}"
_SUFFIX = re.compile(re.escape(_MARK) + r"\{% if add_generation_prompt %\}\{\{ (\".*\") \}\}\{% endif %\}$")


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> dict[int, list[int]]:
    """Make each of `tokens` one special token of the tokenizer; gives the new ids and the tokens that spelled them.

    Raises UserError for one that is an ordinary token already: every text that holds the word would turn into it.
    """
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_vocab()
    new = [token for token in tokens if token not in added]
    for token in new:
        if token in vocabulary:
            raise UserError(f"{token} is an ordinary token of the tokenizer; choose another, as <|{token}|>.")
    spelled = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in new]
    tokenizer.add_special_tokens({"extra_special_tokens": new}, replace_extra_special_tokens=False)
    return {int(tokenizer.convert_tokens_to_ids(token)): ids for token, ids in zip(new, spelled, strict=True)}


def attach_controls(examples: Sequence[Example], good: str, bad: str) -> Shaped:
    """The same examples; each response carries `good` if it is desirable, else `bad`."""

    def controlled(response: Response) -> Response:
        assert response.desirable is not None, "singles are labelled"
        return replace(response, extra={**response.extra, CONTROL: good if response.desirable else bad})

    return Shaped([replace(example, responses=[controlled(r) for r in example.responses]) for example in examples])


def with_control(source: str, token: str | None) -> str:
    """The chat template whose generation prompt ends with `token`, so that whoever samples is conditioned on it."""
    if token is None:
        return source
    spelled = json.dumps(token, ensure_ascii=False)
    # Jinja drops one newline at a template's end; in the middle it would stay.
    return f"{source.removesuffix(chr(10))}{_MARK}{{% if add_generation_prompt %}}{{{{ {spelled} }}}}{{% endif %}}"


def split_control(source: str) -> tuple[str, str | None]:
    """What `with_control` was given."""
    found = _SUFFIX.search(source)
    return (source, None) if found is None else (source[: found.start()], json.loads(found[1]))
