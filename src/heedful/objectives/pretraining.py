"""Pretraining with human feedback: objectives over the tokens of scored documents.  Axes: `N` trained tokens.

s is a token's misalignment score: that of the span which holds its first character that is no blank.  Lower is better.
Korbak et al. 2023, arXiv:2302.08582, section 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from heedful.maths import whiten
from heedful.objectives.reduce import Term, whole_step
from heedful.objectives.settings import NonNegative, Positive, Share, proved_at
from heedful.objectives.views import Tokens

FLOOR = 1e-20
"""Least 1 - π that unlikelihood takes the logarithm of."""

Terms = tuple[dict[str, Term], dict[str, Tensor]]


def on_documents(objective: Callable) -> Callable:
    """Declare that an objective learns from documents: texts without prompts, with scores of their spans."""
    objective.on_documents = True  # type: ignore[attr-defined]
    return objective


@on_documents
def mle(tokens: Tokens) -> Float[Tensor, " N"]:
    """Maximum likelihood: -log π(token), nats, over every token of every document, whatever its score."""
    return -tokens.logps


@on_documents
def filtering(tokens: Tokens, *, threshold: float | None = None, quantile: Share | None = None) -> Float[Tensor, " N"]:
    """Maximum likelihood on the documents whose score is low: -log π(token), nats.  Korbak et al. 2023, section 2.

    The data path leaves the others out; exactly one of the two settings says which.

    threshold: the highest score of a document that is kept; lower keeps less and cleaner text.
    quantile: the share of the training documents, the best ones, that is kept.
    """
    return -tokens.logps


@on_documents
def conditional(
    tokens: Tokens,
    *,
    threshold: float = 0.0,
    drop_token_fraction: Share = 0.01,
    aligned_token: str = "<|aligned|>",
    misaligned_token: str = "<|misaligned|>",
) -> Float[Tensor, " N"]:
    """Conditional training: -log π(token), nats, of documents with a control token before every span.

    The data path puts the tokens in; they are learnt like any other token, and sampling begins with the aligned one.
    Korbak et al. 2023, eq. 2.

    threshold: spans with a score up to it are aligned, those above misaligned.
    drop_token_fraction: share of spans that get no control token, so that the model can also do without.
    aligned_token, misaligned_token: their spelling; they become special tokens, new ones with the mean embedding.
    """
    return -tokens.logps


@on_documents
@proved_at(threshold=0.5)
def unlikelihood(tokens: Tokens, *, threshold: float | None, alpha: NonNegative = 1.0) -> Terms:
    """Unlikelihood: -a·log π - α·(1 - a)·log(1 - π), nats, where a says how aligned a token is.

    Both parts are averaged over all tokens.  Welleck et al. 2020, arXiv:1908.04319; Korbak et al. 2023, eq. 3.

    threshold: a is 1 up to this score and 0 above it.  null is the soft mixture a = 1 - s, s held to [0, 1], into which
        the published code falls for a threshold of 0.  Which of the two it is must be said.
    alpha: weight of pushing misaligned tokens down; larger unlearns more, and costs more fluency.
    """
    scores = tokens.token_scores
    aligned = 1 - scores.clamp(0, 1) if threshold is None else (scores <= threshold).to(scores.dtype)
    against = -torch.log((-torch.expm1(tokens.logps)).clamp(min=FLOOR))
    terms = {
        "likelihood": Term(-aligned * tokens.logps),
        "unlikelihood": Term(alpha * (1 - aligned) * against),
    }
    return terms, {"token_scores": scores, "aligned": aligned}


@on_documents
@whole_step(when="normalize_advantages")
def awr(
    tokens: Tokens,
    *,
    alpha: Share = 0.5,
    beta: Positive = 1.0,
    clip: Positive = 1000.0,
    normalize_advantages: bool = False,
) -> Terms:
    """Advantage-weighted regression: -α·w·log π + (1 - α)·(r - v)², with w = min(e^(A/β), c) and A = r - v.

    r = -s is a token's reward and v = -σ(h·w) what a linear head foretells of it, in (-1, 0), from the state before the
    token.  w carries no gradient; v's reaches the head and the model.  Both parts are averaged over all tokens, and the
    first is not divided by Σw.  Peng et al. 2019, arXiv:1910.00177; Korbak et al. 2023, eq. 5.

    alpha: weight of the language model against the value head; 1 learns no value.
    beta: temperature; smaller prefers better tokens more sharply, larger comes near maximum likelihood.
    clip: c, the largest weight.
    normalize_advantages: to mean 0 and deviation 1 over the whole step (the published code: over a micro-batch).
    """
    reward, value = -tokens.token_scores, tokens.foretold
    advantage = reward - value.detach()
    advantage = whiten(advantage, epsilon=1e-20) if normalize_advantages else advantage
    weight, metrics = _weights(advantage, beta, clip)
    terms = {
        "lm": Term(-alpha * weight * tokens.logps),
        "value": Term((1 - alpha) * (reward - value) ** 2),
    }
    return terms, {**metrics, "rewards": reward, "values": value}


@on_documents
def rwr(tokens: Tokens, *, beta: Positive = 1.0, clip: Positive = 1000.0, baseline: float = 0.0) -> Terms:
    """Reward-weighted regression: -w·log π with w = min(e^((r - b)/β), c), where r = -s.

    Averaged over all tokens, not divided by Σw.  Peters and Schaal 2007; Korbak et al. 2023, eq. 4.  The published
    code takes for b what its value head says, which nothing trains: -½ for ever.

    beta: temperature; smaller prefers better tokens more sharply, larger comes near maximum likelihood.
    clip: c, the largest weight.
    baseline: b; lower makes every weight larger alike.
    """
    reward = -tokens.token_scores
    weight, metrics = _weights(reward - baseline, beta, clip)
    return {"lm": Term(-weight * tokens.logps)}, {**metrics, "rewards": reward}


def _weights(advantage: Float[Tensor, " N"], beta: float, clip: float) -> tuple[Float[Tensor, " N"], dict[str, Tensor]]:
    free = torch.exp(advantage / beta)
    held = (free > clip).to(advantage.dtype)
    weight = free.clamp(max=clip)
    return weight, {"advantages": advantage, "weights": weight, "weights/clipped": held}
