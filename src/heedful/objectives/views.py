"""What an objective sees: one ragged batch, looked at as tokens, single responses, pairs or lists.

Axes: `N` trained response tokens, `B` responses, `P` pairs, `G` prompts (groups).  Tokens lie flat, response after
response; responses lie prompt after prompt.  Log-probabilities are in nats.

Per-token columns (N,): `logps`, and where the objective reads them `ref_logps`, `entropy`, `sum_p2`, `values`,
`foretold`, `kl`, and of scored documents `token_scores`.
Per-response columns (B,): `scores` from a scalar head, and whatever the data carries (`reward`, `desirable`, …).
A column that is not there raises `MissingColumn`; a view records what was read, which is how the loop learns what an
objective needs (see `trial.needs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.maths import segment_sum

TOKEN_OUTPUTS = frozenset({"logps", "entropy", "sum_p2", "values", "foretold", "kl"})
"""Columns per trained token that the trained model's forward gives."""

OUTPUTS = TOKEN_OUTPUTS | {"scores"}
"""All columns that the forward gives; everything else is data, or was computed before training (`ref_logps`)."""

TOKEN_COLUMNS = TOKEN_OUTPUTS | {"ref_logps", "token_scores"}
"""All columns that have a number for every trained token."""


class MissingColumn(KeyError):
    """An objective read a column that the batch does not carry."""

    def __str__(self) -> str:
        return f"the objective reads {self.args[0]!r}, which this batch does not carry"


@dataclass(frozen=True)
class Batch:
    """Flat response tokens with their columns.

    lengths: trained tokens of each response.
    group_of: which prompt each response answers, non-decreasing.
    tokens, responses: the columns, by name.
    read: names read so far.
    """

    lengths: Int[Tensor, " B"]
    group_of: Int[Tensor, " B"]
    tokens: Mapping[str, Float[Tensor, " N"]]
    responses: Mapping[str, Float[Tensor, " B"]]
    read: set[str] = field(default_factory=set)

    def token(self, name: str) -> Float[Tensor, " N"]:
        """A per-token column."""
        return self._get(self.tokens, name)

    def response(self, name: str) -> Float[Tensor, " B"]:
        """A per-response column."""
        return self._get(self.responses, name)

    def _get(self, columns: Mapping[str, Tensor], name: str) -> Tensor:
        self.read.add(name)
        if name not in columns:
            raise MissingColumn(name)
        return columns[name]

    @cached_property
    def token_starts(self) -> Int[Tensor, " B"]:
        """Index of each response's first token."""
        return self.lengths.cumsum(0) - self.lengths

    def by_unit(self, column: Float[Tensor, " B"], over: str) -> Float[Tensor, " U"]:
        """A number per response as one per token, response, pair or group.

        A token has its response's, a pair its chosen response's, a group that of the best of its responses (the first
        of equals).  Nothing counts as read.
        """
        if over == "tokens":
            return torch.repeat_interleave(column, self.lengths)
        if over == "pairs":
            return column[self.responses["chosen"] > 0.5]
        if over == "groups":
            _, group, sizes = torch.unique_consecutive(self.group_of, return_inverse=True, return_counts=True)
            rank = torch.nan_to_num(self.responses["rank"], nan=float("inf"))
            best = torch.segment_reduce(rank, "min", lengths=sizes)[group] == rank
            place = torch.where(best, torch.arange(len(rank), device=rank.device), len(rank)).to(rank.dtype)
            return column[torch.segment_reduce(place, "min", lengths=sizes).long()]
        return column

    def select(self, rows: Int[Tensor, " R"]) -> Batch:
        """The batch of these responses only, in this order; what is read from it counts as read from this one."""
        lengths = self.lengths[rows]
        ends = lengths.cumsum(0)
        within = torch.arange(int(lengths.sum()), device=lengths.device)
        take = within + torch.repeat_interleave(self.token_starts[rows] - (ends - lengths), lengths)
        return Batch(
            lengths,
            self.group_of[rows],
            {name: column[take] for name, column in self.tokens.items()},
            {name: column[rows] for name, column in self.responses.items()},
            self.read,
        )


@dataclass(frozen=True)
class View:
    """A batch looked at in one way.  `unit` names what its values are counted over."""

    batch: Batch
    unit = "responses"

    @property
    def logps(self) -> Float[Tensor, " N"]:
        """Log-probability of each trained token under the policy, nats."""
        return self.batch.token("logps")

    @property
    def ref_logps(self) -> Float[Tensor, " N"]:
        """The same under the reference model; carries no gradient."""
        return self.batch.token("ref_logps").detach()

    @property
    def entropy(self) -> Float[Tensor, " N"]:
        """Entropy of the policy's next-token distribution at each trained token, nats."""
        return self.batch.token("entropy")

    @property
    def sum_p2(self) -> Float[Tensor, " N"]:
        """Σ_v π(v)² over the vocabulary at each trained token: the probability that two draws agree.  No gradient."""
        return self.batch.token("sum_p2").detach()

    @property
    def values(self) -> Float[Tensor, " N"]:
        """The value head's estimate of the return from just before each trained token, in the reward's units.

        Its gradient reaches the value head alone: it belongs in a `Term(…, trainee="value_head")`, detached elsewhere.
        """
        return self.batch.token("values")

    @property
    def kl(self) -> Float[Tensor, " N"]:
        """KL(π‖π_ref) of the next-token distributions, over the whole vocabulary, at each trained token, nats.

        With gradient.  The reference model runs beside the policy in every forward.
        """
        return self.batch.token("kl")


class Tokens(View):
    """Every trained token on its own."""

    unit = "tokens"

    @property
    def token_scores(self) -> Float[Tensor, " N"]:
        """Each token's misalignment score, the data's own units; lower is better."""
        return self.batch.token("token_scores")

    @property
    def foretold(self) -> Float[Tensor, " N"]:
        """-σ(w·h) of the state h before each token: what a linear head foretells of its reward, in (-1, 0).

        Its gradient reaches the head and the model, so it belongs to the policy's terms.
        """
        return self.batch.token("foretold")


class Singles(View):
    """Every response on its own."""

    unit = "responses"

    def sum(self, values: Float[Tensor, " N"]) -> Float[Tensor, " B"]:
        """Sum of a per-token quantity over each response."""
        return segment_sum(values, self.batch.lengths)

    @property
    def lengths(self) -> Int[Tensor, " B"]:
        """Trained tokens of each response."""
        return self.batch.lengths

    @cached_property
    def seq_logps(self) -> Float[Tensor, " B"]:
        """log π(y|x): summed over the response's tokens, nats."""
        return self.sum(self.logps)

    @cached_property
    def seq_ref_logps(self) -> Float[Tensor, " B"]:
        """log π_ref(y|x), nats."""
        return self.sum(self.ref_logps)

    @property
    def mean_logps(self) -> Float[Tensor, " B"]:
        """Mean log-probability of a token of each response, nats a token (by token count, never by non-zeros)."""
        return self.seq_logps / self.lengths.clamp(min=1)

    @cached_property
    def log_ratio(self) -> Float[Tensor, " B"]:
        """log π(y|x) - log π_ref(y|x), nats."""
        return self.sum(self.logps - self.ref_logps)

    @property
    def desirable(self) -> Bool[Tensor, " B"]:
        """Whether people found the response desirable."""
        return self.batch.response("desirable") > 0.5

    @property
    def reward(self) -> Float[Tensor, " B"]:
        """The response's reward, in the data's own units."""
        return self.batch.response("reward")

    @property
    def value(self) -> Float[Tensor, " B"]:
        """Value of the prompt: the reward that the reference policy is expected to get on it, in the reward's units."""
        return self.batch.response("value")

    @property
    def advantage(self) -> Float[Tensor, " B"]:
        """How much better the response is than the reference policy's usual one: reward minus value."""
        return self.reward - self.value

    @property
    def weight(self) -> Float[Tensor, " B"]:
        """How much the data says a response counts, 1 where it says nothing.  Every term is weighted by it already."""
        return torch.nan_to_num(self.batch.response("weight"), nan=1.0)

    @property
    def scores(self) -> Float[Tensor, " B"]:
        """The scalar head's output at the response's last token."""
        return self.batch.response("scores")


class Pairs(View):
    """Two responses to one prompt, of which a person preferred the chosen."""

    unit = "pairs"

    @cached_property
    def chosen(self) -> Singles:
        """The preferred responses (P)."""
        return Singles(self.batch.select(torch.nonzero(self.batch.response("chosen") > 0.5).squeeze(1)))

    @cached_property
    def rejected(self) -> Singles:
        """The other responses (P), in the order of `chosen`."""
        return Singles(self.batch.select(torch.nonzero(self.batch.response("chosen") <= 0.5).squeeze(1)))

    @cached_property
    def margin(self) -> Float[Tensor, " P"]:
        """Difference of log-ratios, chosen minus rejected, nats: an implicit reward margin before β."""
        return self.chosen.log_ratio - self.rejected.log_ratio

    @property
    def asked_margin(self) -> Float[Tensor, " P"]:
        """The reward margin the data asks for; 0 where it asks for none."""
        return torch.nan_to_num(self.chosen.batch.response("margin"), nan=0.0)


class Lists(View):
    """All responses of each prompt together (K may differ between prompts)."""

    unit = "groups"

    @cached_property
    def singles(self) -> Singles:
        """The same batch, response by response."""
        return Singles(self.batch)

    @property
    def group_of(self) -> Int[Tensor, " B"]:
        """Which prompt each response answers, numbered 0 … G-1 in this batch."""
        return torch.unique_consecutive(self.batch.group_of, return_inverse=True)[1]

    @property
    def group_sizes(self) -> Int[Tensor, " G"]:
        """Number of responses of each prompt."""
        return torch.unique_consecutive(self.batch.group_of, return_counts=True)[1]
