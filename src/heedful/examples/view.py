"""Views that users write: `my.py:hard_pairs`, a function from Examples to the Examples that are trained on, in order.

    def hard_pairs(examples):
        pairs = to_pairs(examples).examples
        return sorted(pairs, key=lambda pair: len(pair.responses[0].text))

What it returns is then brought into the form that the objective looks at, as any data is, and its order is kept: batch
t holds the examples from t·batch_size on.  So a run resumes by seeking, and every epoch is alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from heedful.examples.conversation import kind
from heedful.examples.shape import Shaped
from heedful.types import Example, UserError
from heedful.user_file import running, user_function


def load_view(spec: str | None) -> Callable[[Sequence[Example]], Shaped]:
    """What gives the examples as the view `FILE.py:FUNCTION` does; as they are if there is none.

    Raises UserError at once if the file or function is missing, and later if it fails or returns anything but Examples.
    """
    if spec is None:
        return lambda examples: Shaped(list(examples))
    function = user_function(spec, "view", takes=("examples",))
    return lambda examples: _seen(function, spec, examples) if examples else Shaped()


def _seen(function: Callable[..., Any], spec: str, examples: Sequence[Example]) -> Shaped:
    with running("view", spec):
        returned = function(list(examples))
        if not isinstance(returned, Iterable) or isinstance(returned, str | Mapping):
            raise UserError(f"the view {spec} must return a list of Examples, and returned {kind(returned)}.")
        seen = list(returned)
    for place, example in enumerate(seen, start=1):
        if not isinstance(example, Example):
            raise UserError(f"the view {spec} must return Examples, and the {place:,}. it returned is {kind(example)}.")
    if not seen:
        raise UserError(f"the view {spec} returned none of {len(examples):,} examples, so nothing would be trained on.")
    return Shaped(seen, notes=[f"examples that the view {spec} made of {len(examples):,}: {len(seen):,}"])
