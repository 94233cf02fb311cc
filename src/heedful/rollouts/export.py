"""Samples as Examples: what scorers annotate, files hold and trainers read."""

from __future__ import annotations

from collections.abc import Iterable

from heedful.types import TEXT, Example, Message, Response, Rollout


def to_examples(rollouts: Iterable[Rollout], *, source: str | None = None) -> list[Example]:
    """One Example a prompt, in the order of prompts, with its samples in their order.

    A response to a plain (`text`) prompt is plain, another is an assistant turn.  `Response.extra` holds `finished`,
    `seed` and `tokens` (how many were sampled), and where they were asked for `logp`: the log-probability of the whole
    response in nats, under the model itself.  source: who sampled it.
    """
    groups: dict[int, list[Rollout]] = {}
    for rollout in sorted(rollouts, key=lambda r: (r.prompt_index, r.sample_index)):
        groups.setdefault(rollout.prompt_index, []).append(rollout)
    return [
        Example(group[0].prompt, [_response(r, source) for r in group], id=f"prompt-{index}")
        for index, group in groups.items()
    ]


def _response(rollout: Rollout, source: str | None) -> Response:
    plain = bool(rollout.prompt) and rollout.prompt[0].role == TEXT
    extra = {"finished": rollout.finished, "seed": rollout.seed, "tokens": len(rollout.response_ids)}
    if rollout.logps is not None:
        extra["logp"] = sum(rollout.logps)
    return Response([Message(TEXT if plain else "assistant", rollout.text)], source=source, extra=extra)
