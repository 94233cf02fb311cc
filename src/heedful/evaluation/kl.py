"""How far a model is from a reference language model: E[log p_ref(x) - log p(x)] over samples x of the reference, nats.

Korbak et al. 2023, section 4, take GPT-3 for the reference.  Here it is a model of one's own or any completions server
with log-probabilities; its samples are drawn once and kept.  Control tokens that the model reads are not counted, and
every text is read alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heedful.config import KLConfig
from heedful.evaluation.scenarios import Beginnings, check_prefix, continuations
from heedful.models import PackedModel, load_policy, to_tensors
from heedful.models.folders import digest_of, resolve
from heedful.rollouts.endpoint import is_endpoint, parse_endpoint
from heedful.scorers.documents import lines_of
from heedful.scorers.packing import packs_of
from heedful.tokens.encoded import EncodedExample, EncodedResponse
from heedful.tokens.templates import Template
from heedful.types import TEXT, Echo, Example, Message, Response, RunError

AT_ONCE = 32
"""Samples that an endpoint is asked for together."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A text.  finished: whether its end belongs to it.  ids: its tokens, where a model of one's own drew it."""

    text: str
    finished: bool = False
    ids: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class ReferenceSample(Sample):
    """logp: of the text under the reference, nats, its end included if it is finished.  num_tokens: the reference's."""

    logp: float
    num_tokens: int


@dataclass(frozen=True)
class KL:
    """sequence: nats a sample.  token: nats a token of the reference.  Intervals: half of the 95 % one of each."""

    sequence: float
    interval: float
    token: float
    token_interval: float

    @staticmethod
    def of(differences: Sequence[float], num_tokens: Sequence[int]) -> KL:
        """From log p_ref - log p of each sample, d, and its tokens, n; samples are independent, their tokens are not.

        The KL of a token is the ratio Σd / Σn, and its variance by the delta method that of d - n·Σd/Σn, over (Σn)².
        """
        d, n = np.array(differences, float), np.array(num_tokens, float)
        total = max(n.sum(), 1.0)
        token = d.sum() / total

        def half(values: np.ndarray) -> float:
            """Of a sum's 95 % interval; of one value it is not known."""
            return 1.96 * float(values.std(ddof=1)) * len(values) ** 0.5 if len(values) > 1 else float("nan")

        return KL(float(d.mean()), half(d) / len(d), float(token), half(d - n * token) / float(total))

    def metrics(self) -> dict[str, float]:
        return {f"kl/{name}": value for name, value in asdict(self).items()}


def reference_samples(
    config: KLConfig, cache_dir: Path, *, seed: int, device: Any = "cpu", echo: Echo = lambda line: None
) -> list[ReferenceSample]:
    """Samples of the reference, which is named, drawn once for (reference, num_samples, max_new_tokens, seed) and kept.

    Of an endpoint they are written as they come, so that a failure keeps what was sampled and the next call goes on.
    Raises UserError for a reference that is not there, RunError for a server that fails.
    """
    assert config.reference is not None
    remote = is_endpoint(config.reference)
    who = config.reference if remote else digest_of(resolve(config.reference))
    key = json.dumps([who, config.num_samples, config.max_new_tokens, seed])
    path = cache_dir / "kl" / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.jsonl"
    found = _read(path)
    if len(found) < config.num_samples:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = _of_endpoint if remote else _of_model
        with path.open("w", encoding="utf-8") as file:
            for one in found:
                file.write(json.dumps(asdict(one)) + "\n")
            try:
                for one in draw(config.reference, config, len(found), seed, device):
                    file.write(json.dumps(asdict(one)) + "\n")
                    file.flush()
                    found.append(one)
            except RunError as error:
                raise RunError(
                    f"{str(error).rstrip('.')}.  {len(found):,} of {config.num_samples:,} samples of the reference are "
                    f"kept in {path}; the same command goes on from there."
                ) from None
        echo(f"{len(found):,} samples of {config.reference}")
    return found


def _read(path: Path) -> list[ReferenceSample]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            one = ReferenceSample(**json.loads(line))
            if not isinstance(one.text, str) or not math.isfinite(one.logp):
                break
        except (ValueError, TypeError):
            break
        found.append(one)
    return found


def _of_model(who: str, config: KLConfig, known: int, seed: int, device: Any) -> Iterator[ReferenceSample]:
    loaded = load_policy(who, device=device)
    template = Template.load(loaded.tokenizer, None)
    rollouts = continuations(
        loaded.model,
        template,
        [""],
        samples_per_prompt=config.num_samples,
        max_new_tokens=config.max_new_tokens,
        seed=seed,
        want_logps=True,
    )
    for rollout in rollouts[known:]:
        assert rollout.logps is not None
        ids = rollout.response_ids[:-1] if rollout.finished else rollout.response_ids
        num = len(rollout.response_ids)
        logp = float(np.sum(rollout.logps))
        yield ReferenceSample(text=rollout.text, logp=logp, num_tokens=num, finished=rollout.finished, ids=ids)


def _of_endpoint(who: str, config: KLConfig, known: int, seed: int, device: Any) -> Iterator[ReferenceSample]:
    endpoint = parse_endpoint(who)
    while known < config.num_samples:
        num = min(AT_ONCE, config.num_samples - known)
        given = endpoint.completions(
            "", max_tokens=config.max_new_tokens, n=num, logprobs=True, seed=seed * 1_000_003 + known
        )[:num]  # some servers give one, however many are asked for
        known += len(given)
        for one in given:
            logps = [logp for logp in one.logps if logp is not None]
            # A server does not say how likely the end was, so it counts on neither side.
            yield ReferenceSample(text=one.text, logp=float(np.sum(logps)), num_tokens=len(logps))


def divergence(
    model: PackedModel, template: Template, samples: Sequence[ReferenceSample], prefix: str = "", lines: bool = False
) -> KL:
    """KL from the samples' model to `model`.

    prefix: put before every sample, and before each of its lines if `lines`; as a condition, it is not counted.
    """
    logps = np.array(log_likelihoods(model, template, samples, prefix, lines))
    differences = np.array([one.logp for one in samples]) - logps
    return KL.of(differences.tolist(), [one.num_tokens for one in samples])


def log_likelihoods(
    model: PackedModel, template: Template, samples: Sequence[Sample], prefix: str = "", lines: bool = False
) -> list[float]:
    """log p of every sample's text under the model, in nats, given the prefix as in `divergence`."""
    check_prefix(template, prefix)
    start = np.array([template.start_id], np.int32)
    encoded, examples, rows = [], [], []
    for row, one in enumerate(samples):
        ids, counted = _laid_out(template, one, prefix, lines)
        if counted.any():
            encoded.append(EncodedExample(start, [EncodedResponse(ids, counted)], row=len(examples)))
            examples.append(Example([], [Response([Message(TEXT, "")])]))
            rows.append(row)
    found = np.zeros(len(samples))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for pack in packs_of(encoded, examples):
                logps = model(to_tensors(pack, model.device), {"logps"})["logps"].double().cpu().numpy()
                sums = np.bincount(pack.response_of, logps, minlength=pack.num_responses)
                found[np.array(rows)[pack.response_rows]] = sums
    finally:
        model.train(training)
    return found.tolist()


def _laid_out(template: Template, one: Sample, prefix: str, lines: bool) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that the model reads, and which of them count.

    The reference's own tokens, where this tokenizer spells the text with them; else the text is tokenised.
    """
    vocabulary = template.vocabulary
    known = one.ids is not None and Beginnings(template).decode_response(one.ids) == one.text
    parts = _parts(template, one, known, lines)
    condition = vocabulary.encode([prefix])[0] if prefix else []
    ids, counted = [], []
    for number, part in enumerate(parts):
        before = condition if number == 0 or lines else []
        ids += [*before, *part]
        counted += [False] * len(before) + [True] * len(part)
    if one.finished:
        ids.append(template.eos_id)
        counted.append(True)
    return np.array(ids, np.int32), np.array(counted, bool)


def _parts(template: Template, one: Sample, known: bool, lines: bool) -> list[list[int]]:
    """The tokens of the text, by lines if asked for."""
    vocabulary = template.vocabulary
    if not known:
        pieces = lines_of(one.text) if lines else [one.text]
        return vocabulary.encode(pieces) or [[]]
    assert one.ids is not None
    if not lines:
        return [one.ids]
    parts: list[list[int]] = [[]]
    for index in one.ids:
        spelled = vocabulary.decode([index])
        if "\n" in spelled.rstrip("\n"):  # a token goes over a border: part the text instead
            return vocabulary.encode(lines_of(one.text)) or [[]]
        parts[-1].append(index)
        if spelled.endswith("\n"):
            parts.append([])
    return parts if parts[-1] or len(parts) == 1 else parts[:-1]
