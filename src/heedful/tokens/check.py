"""The data check: what is wrong with tokenised data, as errors that stop a run and warnings that a person should read.

Each check is a function from the data to its findings; `CHECKS` is the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from heedful.examples.mismatched import is_mismatched
from heedful.tokens.report import Finding, Tally
from heedful.tokens.store import TokenStore
from heedful.tokens.templates import Template
from heedful.tokens.turns import TrainOn, arrange
from heedful.tokens.words import Words, judge
from heedful.types import Example, Message

BOUNDARY_SAMPLE, WORDS_SAMPLE = 64, 2000
"""Examples and responses on which the costly laws are verified, evenly spaced; all, where there are fewer."""


@dataclass(frozen=True)
class Data:
    """What is checked: a store, the examples it was made from, and how.

    truncated_rows: examples of which turns or tokens were left out, whose prompts are not what was read.
    """

    store: TokenStore
    examples: Sequence[Example]
    template: Template
    train_on: TrainOn
    truncated_rows: frozenset[int] = field(default_factory=frozenset)

    @cached_property
    def keys(self) -> list[bytes]:
        """The content key of every response."""
        return [self.store.response_key(r) for r in range(self.store.num_responses)]

    @cached_property
    def words(self) -> dict[int, Words]:
        """Whose words the trained tokens of a sample of the responses spell."""
        verdicts = {}
        for r in _spread(self.store.num_responses, WORDS_SAMPLE):
            e = self.store.example_of(r)
            if self.whole(e) and not self.store.is_mismatched[r]:
                verdicts[r] = judge(self.template, self.store, e, r, self.example(e))
        return verdicts

    def own(self, e: int) -> list[int]:
        """The responses of example e of the store that answer its own prompt."""
        return [r for r in self.store.responses_of(e) if not self.store.is_mismatched[r]]

    def example(self, e: int) -> Example:
        """What example e of the store was made from."""
        return self.examples[int(self.store.example_rows[e])]

    def whole(self, e: int) -> bool:
        """Whether example e of the store is all of what was read, not a document's chunk."""
        rows = self.store.example_rows
        return not ((e > 0 and rows[e - 1] == rows[e]) or (e + 1 < len(rows) and rows[e + 1] == rows[e]))

    def last_chunk(self, e: int) -> bool:
        """Whether the response of example e of the store is its end."""
        rows = self.store.example_rows
        return e + 1 == len(rows) or rows[e + 1] != rows[e]


@dataclass(slots=True)
class Findings:
    """Errors and warnings of one check."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def check(data: Data) -> Findings:
    """Run every check."""
    found = Findings()
    for code, stops, sentence, where in CHECKS:
        tally = Tally()
        for origin in where(data):
            tally.add(origin)
        if tally.count:
            (found.errors if stops else found.warnings).append(Finding(code, sentence, tally.count, tally.first))
    return found


def no_eos(data: Data) -> Iterator[str]:
    for e in range(len(data.store)):
        for r in data.own(e):
            if data.last_chunk(e) and int(data.store.response_tokens(r)[-1]) not in data.template.stop_ids:
                yield data.store.origin(e)


def double_bos(data: Data) -> Iterator[str]:
    start = data.template.vocabulary.start_id
    for e in range(len(data.store)):
        first = [*data.store.prompt_tokens(e)[:2], *data.store.response_tokens(data.store.responses_of(e)[0])[:1]]
        if start is not None and first[:2] == [start, start] and data.whole(e):
            yield data.store.origin(e)


def no_trained_token(data: Data) -> Iterator[str]:
    counts = np.diff(data.store.trained_offsets)
    for r in np.flatnonzero(counts == 0):
        yield data.store.origin(data.store.example_of(int(r)))


def moving_boundary(data: Data) -> Iterator[str]:
    for e in _spread(len(data.store), BOUNDARY_SAMPLE):
        row = int(data.store.example_rows[e])
        if row in data.truncated_rows:
            continue
        ids = [*data.store.prompt_tokens(e).tolist(), *data.template.control_ids]
        if ids != data.template.encode_prompt(_prompt_of(data, e)):
            yield data.store.origin(e)


def _prompt_of(data: Data, e: int) -> list[Message]:
    turns = arrange(data.example(e), data.train_on)
    assert not isinstance(turns, str)
    return turns.prompt


def wrong_role(data: Data) -> Iterator[str]:
    return _judged(data, Words.OF_ANOTHER_ROLE)


def changed_words(data: Data) -> Iterator[str]:
    return _judged(data, Words.CHANGED)


def _judged(data: Data, verdict: Words) -> Iterator[str]:
    return (data.store.origin(data.store.example_of(r)) for r, words in data.words.items() if words is verdict)


def empty_answer(data: Data) -> Iterator[str]:
    for e in range(len(data.store)):
        if any(not r.text.strip() and not is_mismatched(r) for r in data.example(e).responses):
            yield data.store.origin(e)


def equal_responses(data: Data) -> Iterator[str]:
    for e in range(len(data.store)):
        keys = [data.keys[r] for r in data.own(e)]
        if len(set(keys)) < len(keys):
            yield data.store.origin(e)


def duplicates(data: Data) -> Iterator[str]:
    seen = set()
    for e in range(len(data.store)):
        content = tuple(data.keys[r] for r in data.own(e))
        if content in seen:
            yield data.store.origin(e)
        seen.add(content)


def contradictions(data: Data) -> Iterator[str]:
    """Pairs judged one way and the other way round, and equal answers judged desirable and not."""
    verdicts: dict[object, object] = {}
    chosen, desirable = data.store.columns["chosen"], data.store.columns["desirable"]
    for e in range(len(data.store)):
        rows = data.store.responses_of(e)
        claims: list[tuple[object, object]] = [(data.keys[r], desirable[r]) for r in rows if desirable[r] >= 0]
        if any(chosen[r] == 1 for r in rows):
            winner = next(data.keys[r] for r in rows if chosen[r] == 1)
            claims.append((frozenset(data.keys[r] for r in rows), winner))
        if any(verdicts.setdefault(about, verdict) != verdict for about, verdict in claims):
            yield data.store.origin(e)


def spelled_specials(data: Data) -> Iterator[str]:
    template = data.template
    spelled = {template.vocabulary.token(i) for i in (*template.tokenizer.all_special_ids, *template.stop_ids)}
    pattern = re.compile("|".join(re.escape(token) for token in sorted(spelled, key=len, reverse=True)) or "(?!)")
    for example in data.examples:
        turns = [example.prompt, *(response.messages for response in example.responses)]
        if any(pattern.search(message.content) for messages in turns for message in messages):
            yield example.origin or example.id or "?"


def unended_turns(data: Data) -> Iterator[str]:
    if data.train_on == "all_assistant" and data.template.anatomy.end_id is None:
        for e in range(len(data.store)):
            example = data.example(e)
            if sum(m.role == "assistant" for m in (*example.prompt, *example.responses[0].messages)) > 1:
                yield data.store.origin(e)


def _spread(n: int, sample: int) -> list[int]:
    """Up to `sample` of 0 … n-1, evenly spaced."""
    return list(range(n)) if n <= sample else [i * n // sample for i in range(sample)]


Check = tuple[str, bool, str, Callable[[Data], Iterator[str]]]
CHECKS: list[Check] = [
    ("no_eos", True, "a response does not end with EOS or an end of turn", no_eos),
    ("double_bos", True, "the tokens begin with BOS twice; the template and the text both write it", double_bos),
    ("no_trained_token", True, "a response has no token that is trained", no_trained_token),
    ("moving_boundary", True, "sampling would give the prompt other tokens than training", moving_boundary),
    ("wrong_role", True, "the template would train on words of the user or system", wrong_role),
    ("changed_words", False, "what is trained is not what the assistant says in the data; see it", changed_words),
    ("empty_answer", False, "an answer is empty and teaches to say nothing", empty_answer),
    (
        "equal_responses",
        False,
        "responses of one prompt are equal (chosen = rejected teaches nothing)",
        equal_responses,
    ),
    ("duplicates", False, "an example is a copy of an earlier one", duplicates),
    ("contradictions", False, "an example is judged the opposite of an earlier, equal one", contradictions),
    ("spelled_specials", False, "a message spells a special token, which becomes that token", spelled_specials),
    ("unended_turns", False, "only the last answer is taught to stop: the template ends no turn", unended_turns),
]
"""Code, whether it stops a run, sentence, and the origins of the examples it finds."""
