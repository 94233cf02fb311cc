"""Examples to token ids and masks, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from heedful.examples.mismatched import is_mismatched
from heedful.examples.shape import Dropped
from heedful.tokens.control import CONTROL
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.masks import token_ends, trained_mask, trained_spans
from heedful.tokens.templates import PromptTokens, Template, cut_left
from heedful.tokens.turns import TrainOn, Turns, arrange, without_oldest
from heedful.types import Example, UserError


class Unfit(Exception):
    """Why an example is left out."""


@dataclass(slots=True)
class _Job:
    row: int
    turns: Turns
    controls: list[str | None]
    """The control token of each response."""
    mismatched: list[bool]
    """Whether each response is a mismatched answer, which only serves this prompt."""
    dropped_turns: int = 0
    prompt: str = ""
    wholes: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    """What each response is tokenised as: the whole conversation, or control token and answer, which never merge."""


def encode(
    template: Template,
    examples: Sequence[Example],
    *,
    train_on: TrainOn,
    max_length: int,
    max_prompt_length: int | None,
) -> list[EncodedExample | Dropped]:
    """See `Template.encode`."""
    if max_length < 2 or (max_prompt_length is not None and not 0 < max_prompt_length < max_length):
        raise UserError(
            f"max_length={max_length} and max_prompt_length={max_prompt_length} leave no room for an answer; "
            "max_prompt_length must be between 1 and max_length - 1."
        )
    done: list[list[EncodedExample] | str] = [[] for _ in examples]
    jobs: list[_Job] = []
    for row, example in enumerate(examples):
        turns = arrange(example, train_on)
        if isinstance(turns, str):
            done[row] = turns
        else:
            mismatched = [is_mismatched(response) for response in example.responses]
            jobs.append(_Job(row, turns, _controls(template, example), mismatched))
    encoder = _Encoder(template, max_length, max_prompt_length)
    while jobs:
        again = []
        for job, result in encoder.run(jobs):
            if isinstance(result, _Job):
                again.append(result)
            else:
                done[job.row] = result
        jobs = again
    results: list[EncodedExample | Dropped] = []
    for example, result in zip(examples, done, strict=True):
        results += [Dropped(example.origin, result)] if isinstance(result, str) else result
    return results


def _controls(template: Template, example: Example) -> list[str | None]:
    """The control token of each response: its own, or the template's, if it has one."""
    if template.control is None:
        assert all(CONTROL not in response.extra for response in example.responses), "a template without control tokens"
        return [None] * len(example.responses)
    return [response.extra.get(CONTROL, template.control) for response in example.responses]


def _cut(response: EncodedResponse, room: int) -> EncodedResponse:
    """The first tokens of a mismatched answer, all of them to be measured if those to be measured are cut off."""
    trained = response.trained[:room]
    return EncodedResponse(response.ids[:room], trained if trained.any() else np.ones_like(trained))


class _Encoder:
    """Renders and tokenises jobs; gives back the finished, the reason, or the job with a turn less to try again."""

    def __init__(self, template: Template, max_length: int, max_prompt_length: int | None):
        self.template, self.max_length = template, max_length
        limit = max_length if max_prompt_length is None else max_prompt_length
        # A control token is the prompt's last, though it rides with the response.
        self.num_controls = len(template.control_ids)
        self.max_prompt_length = limit - self.num_controls

    def run(self, jobs: list[_Job]):
        reasons: dict[int, str] = {}
        for i, job in enumerate(jobs):
            try:
                self._render(job)
            except Unfit as unfit:
                reasons[i] = str(unfit)
        texts = {text: 0 for i, job in enumerate(jobs) if i not in reasons for text in (job.prompt, *job.bodies)}
        tokens = dict(zip(texts, self.template.vocabulary.encode(list(texts)), strict=True))
        for i, job in enumerate(jobs):
            try:
                yield job, reasons[i] if i in reasons else self._finish(job, tokens)
            except Unfit as unfit:
                yield job, str(unfit)

    def _render(self, job: _Job) -> None:
        """Prompt and whole conversations as text, up to each answer's end."""
        template, turns = self.template, job.turns
        try:
            job.prompt = template.prompt_text(turns.prompt)
            job.wholes = [template.render([*turns.prompt, *response]) for response in turns.responses]
        except ValueError as error:
            raise Unfit(f"the template refuses it: {error}") from None
        if not turns.verbatim:
            job.wholes = [self._until_end(whole) for whole in job.wholes]
        if not all(whole.startswith(job.prompt) for whole in job.wholes):
            raise Unfit("the template renders the prompt differently when the answer follows")
        job.bodies = [
            whole if control is None else control + whole[len(job.prompt) :]
            for whole, control in zip(job.wholes, job.controls, strict=True)
        ]

    def _until_end(self, whole: str) -> str:
        """Cut what follows the end-of-turn token (or the last answer, where there is none)."""
        anatomy = self.template.anatomy
        if whole.endswith(anatomy.after):
            return whole[: len(whole) - anatomy.tail]
        if anatomy.end_id is not None:
            spelled = self.template.vocabulary.token(anatomy.end_id)
            if spelled in whole:
                return whole[: whole.rfind(spelled) + len(spelled)]
        return whole

    def _finish(self, job: _Job, tokens: dict[str, list[int]]) -> list[EncodedExample] | _Job:
        turns = job.turns
        prompt = self.template.prompt_tokens(job.prompt, tokens[job.prompt], verbatim=turns.verbatim)
        item = EncodedExample(np.array(prompt.all, np.int32), [], job.row, job.dropped_turns)
        for k, body in enumerate(job.bodies):
            item.responses.append(self._response(job, prompt, k, tokens[body], item))
        longest = max(len(r.ids) for r, other in zip(item.responses, job.mismatched, strict=True) if not other)
        if len(item.prompt_ids) <= self.max_prompt_length and len(item.prompt_ids) + longest <= self.max_length:
            return [self._serving(item, job)]
        return self._shorten(job, prompt, item, longest)

    def _serving(self, item: EncodedExample, job: _Job) -> EncodedExample:
        """The example with its mismatched answer no longer than there is room behind the prompt."""
        room = self.max_length - len(item.prompt_ids)
        cut = [other and len(r.ids) > room for r, other in zip(item.responses, job.mismatched, strict=True)]
        responses = [_cut(r, room) if too_long else r for r, too_long in zip(item.responses, cut, strict=True)]
        return replace(item, responses=responses, cut_mismatched=any(cut))

    def _response(
        self, job: _Job, prompt: PromptTokens, k: int, body: list[int], item: EncodedExample
    ) -> EncodedResponse:
        template, turns, flags = self.template, job.turns, job.turns.trained[k]
        whole, control = job.wholes[k], job.controls[k]
        if not any(flags):
            raise Unfit("a response has no trained turn")
        n, start = len(prompt.ids), len(job.prompt) - prompt.cut.characters
        shared: int | None = n  # tokens of the whole that are not the response's; None if it was tokenised apart
        if control is not None:
            ids = body
        elif body[:n] != prompt.ids:
            ids = template.boundary.apart(prompt.ids, whole[start:], body)
            if ids is None:
                raise Unfit("the tokenizer cannot part the answer from its prompt")
            item.retokenised += 1
            shared = None
        else:
            if n == 0 and body[:1] == prompt.lead and not turns.verbatim:
                shared = 1  # the template wrote the BOS that stands for the empty prompt
            ids = body[shared:]
        if all(flags):
            trained = np.ones(len(ids), bool)
        else:
            spans = trained_spans(template, turns.prompt, turns.responses[k], flags, whole, start)
            if spans is None:
                raise Unfit("the turns to train on cannot be found in the rendered conversation")
            if control is not None:
                ends = [end - len(control) + start for end in template.vocabulary.encode_with_ends(job.bodies[k])[1]]
            else:
                ends = token_ends(template.vocabulary, whole, start, prompt.ids, ids, shared)
            trained = trained_mask(ends, spans)
        if control is not None:
            assert ids[0] in template.vocabulary.special_ids
            trained[0] = False
        ended = ids[-1:] == [template.eos_id] or (not turns.verbatim and ids[-1:] == [template.stop_ids[0]])
        if not ended:
            ids, trained = [*ids, template.eos_id], np.append(trained, flags[-1])
        if not trained.any():
            raise Unfit("a response has no trained token")
        return EncodedResponse(np.array(ids, np.int32), trained)

    def _shorten(
        self, job: _Job, prompt: PromptTokens, item: EncodedExample, longest: int
    ) -> list[EncodedExample] | _Job:
        """What to do about an example that is too long; longest: tokens of its longest answer."""
        if job.turns.verbatim:
            if not job.prompt and len(item.responses) == 1:
                return self._chunks(item)
            limit = min(self.max_prompt_length, self.max_length - longest)
            if limit <= len(prompt.lead):
                raise Unfit(f"its answer does not fit in max_length={self.max_length}")
            kept = cut_left(prompt, limit, self.template.vocabulary)
            cut = replace(item, prompt_ids=np.array(kept, np.int32), cut_tokens=len(item.prompt_ids) - len(kept))
            return [self._serving(cut, job)]
        shorter = without_oldest(job.turns)
        if shorter is not None:
            return _Job(job.row, shorter, job.controls, job.mismatched, job.dropped_turns + 1)
        if len(item.prompt_ids) > self.max_prompt_length:
            most = self.max_prompt_length + self.num_controls
            limit = "max_prompt_length" if most < self.max_length else "max_length"
            raise Unfit(f"its last turn alone is longer than {limit}={most}")
        raise Unfit(f"its answer does not fit in max_length={self.max_length}")

    def _chunks(self, item: EncodedExample) -> list[EncodedExample]:
        """A document in pieces of `max_length`, each behind the same first tokens; nothing is left out."""
        whole, num = item.responses[0], self.num_controls
        size = self.max_length - len(item.prompt_ids) - num
        pieces = [
            EncodedResponse(*(np.concatenate([part[:num], part[i : i + size]]) for part in (whole.ids, whole.trained)))
            for i in range(num, len(whole.ids), size)
        ]
        return [
            replace(item, responses=[piece], chunk=chunk, num_chunks=len(pieces)) for chunk, piece in enumerate(pieces)
        ]
