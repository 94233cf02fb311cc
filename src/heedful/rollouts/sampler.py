"""Prompts in, samples out: the one function every workflow and every online step samples with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from heedful.rollouts.native import Row, Stops, run_batch
from heedful.rollouts.seeds import plan_seeds
from heedful.rollouts.settings import SamplingSettings
from heedful.types import Message, Rollout, UserError


class NoRoom(UserError):
    """A prompt is too long for the model's context."""


class SamplingTemplate(Protocol):
    """What sampling needs of a template (`heedful.tokens.Template` has it)."""

    @property
    def stop_ids(self) -> Sequence[int]: ...
    def encode_prompt(self, messages: Sequence[Message], *, max_prompt_length: int | None = None) -> list[int]: ...
    def decode_response(self, ids: Sequence[int], prompt: Sequence[Message] | None = None) -> str: ...


def sample(
    model: Any,
    template: SamplingTemplate,
    prompts: Sequence[Sequence[Message]],
    *,
    samples_per_prompt: int = 1,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    stop: Sequence[str] = (),
    want_logps: bool = False,
    batch_rows: int = 256,
    min_new_tokens: int = 0,
    banned_ids: Sequence[int] = (),
    max_prompt_length: int | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[Rollout]:
    """Sample K responses of each prompt; batches are yielded as they end (`in_order` sorts them).

    A sample is a function of (seed, prompt, sample index): other prompts, their order and `batch_rows` do not change it
    (beyond the last bits of a matrix product).  A prompt given twice gets further samples, not the same again.

    model: a Transformers causal model, or our wrapper around one; it is put into eval mode while sampling.
    The other settings are those of `SamplingSettings`.  `response_ids` hold the stop token; `text` does not, and is cut
    before a stop string.  names: what messages call the prompts (their rows in a file).

    Raises UserError for a setting out of range, an empty prompt, and a prompt that leaves no room in the context.
    """
    settings = SamplingSettings(
        samples_per_prompt,
        max_new_tokens,
        temperature,
        top_p,
        top_k,
        seed,
        tuple(stop),
        want_logps,
        batch_rows,
        min_new_tokens,
        tuple(banned_ids),
    )
    encoded = [template.encode_prompt(messages, max_prompt_length=max_prompt_length) for messages in prompts]
    inner = getattr(model, "inner", model)
    called = names or [f"Prompt {index}" for index in range(len(prompts))]
    rows = _plan_rows(encoded, settings, _context_length(inner), called)
    stops = Stops(template.stop_ids, settings.stop, template.decode_response)
    with _sampling_mode(inner):
        for batch in _plan_batches(rows, settings):
            for row in run_batch(inner, batch, settings, stops):
                yield _rollout(row, prompts[row.prompt_index], template, stops)


def in_order(rollouts: Iterable[Rollout]) -> list[Rollout]:
    """All samples, by prompt and then by sample."""
    return sorted(rollouts, key=lambda r: (r.prompt_index, r.sample_index))


def _plan_rows(
    encoded: Sequence[Sequence[int]], settings: SamplingSettings, context: int | None, names: Sequence[str]
) -> list[list[Row]]:
    groups = []
    for index, seeds in enumerate(plan_seeds(settings.seed, encoded, settings.samples_per_prompt)):
        ids = list(encoded[index])
        room = settings.max_new_tokens if context is None else min(settings.max_new_tokens, context - len(ids))
        if not ids:
            raise UserError(f"{names[index]} has no token: give it some text, or a template that starts with one.")
        if room < 1:
            raise NoRoom(
                f"{names[index]} has {len(ids)} tokens and the model's context {context}, so there is no room for an "
                "answer: shorten it, or set max_prompt_length."
            )
        groups.append([Row(ids, s, index, k, room, []) for k, s in enumerate(seeds)])
    return groups


def _plan_batches(groups: list[list[Row]], settings: SamplingSettings) -> Iterator[list[list[Row]]]:
    """Prompts of similar length side by side.  A prompt with more samples than a batch holds is split."""
    size = settings.batch_rows
    pieces = [group[i : i + size] for group in groups for i in range(0, len(group), size)]
    pieces.sort(key=lambda piece: (len(piece[0].prompt_ids), piece[0].prompt_index, piece[0].sample_index))
    batch: list[list[Row]] = []
    for piece in pieces:
        if batch and not _fits(batch, piece, size):
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _fits(batch: list[list[Row]], piece: list[Row], size: int) -> bool:
    # Tokens beyond the shortest prompt are read one step at a time, so a batch must not mix short and long ones.
    shortest, longest = len(batch[0][0].prompt_ids), len(piece[0].prompt_ids)
    return sum(map(len, batch)) + len(piece) <= size and longest - shortest <= max(16, shortest // 4)


def _rollout(row: Row, prompt: Sequence[Message], template: SamplingTemplate, stops: Stops) -> Rollout:
    return Rollout(
        prompt=list(prompt),
        text=stops.cut(template.decode_response(row.ids, prompt)),
        prompt_ids=row.prompt_ids,
        response_ids=row.ids,
        logps=row.logps,
        finished=row.finished,
        seed=row.seed,
        prompt_index=row.prompt_index,
        sample_index=row.sample_index,
    )


def _context_length(model: Any) -> int | None:
    config = model.config.get_text_config(decoder=True)
    return next((int(n) for k in ("max_position_embeddings", "n_positions") if (n := getattr(config, k, None))), None)


@contextmanager
def _sampling_mode(model: torch.nn.Module) -> Iterator[None]:
    """No dropout while sampling; the mode that was there comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
