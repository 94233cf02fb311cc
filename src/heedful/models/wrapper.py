"""The one module that training wraps: trunk and heads together, from a pack to the numbers objectives read.

DDP and FSDP2 must see trunk and head in one forward; calling a head outside it fails under FSDP2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from heedful.models import attention, padded
from heedful.models.batch import PackTensors
from heedful.models.heads import base_of, layers_of, lm_head, score_head, trunk_of
from heedful.models.logprobs import ReferenceStates, token_stats

WANTS = frozenset({"logps", "entropy", "sum_p2", "kl", "values", "foretold", "scores", "states"})


class PackedModel(nn.Module):
    """A Transformers (or PEFT) model that reads packs.

    inner: the model.  packed: whether it reads a pack as it is (else through a padded batch, with the same results).
    compute_dtype: compute the trunk in this dtype by autocasting; parameters stay as they are.
    frame: for encoders, the special tokens around a text pair.
    value_head: from hidden states to one value, for objectives that read `values`; its gradient stays within it.
    reward_head: from hidden states to the logit of a token's reward, for objectives that read `foretold`.
    reference_adapter: name of the frozen copy of the adapter that a run continues, which is its reference.
    """

    def __init__(
        self,
        inner: nn.Module,
        *,
        packed: bool = True,
        compute_dtype: torch.dtype | None = None,
        frame: padded.PairFrame | None = None,
        value_head: nn.Module | None = None,
        reward_head: nn.Module | None = None,
        reference_adapter: str | None = None,
    ):
        super().__init__()
        self.inner = inner
        self.packed, self.compute_dtype, self.frame = packed, compute_dtype, frame
        self.value_head = value_head
        self.reward_head = reward_head
        self.reference_adapter = reference_adapter
        self.chunk_bytes: int | None = None
        """Size of the buffer for logits; None is what `token_stats` finds best."""
        if reference_adapter is not None:
            # The starting point is the run's input, not its state: a checkpoint neither holds nor overwrites it.
            self.register_state_dict_post_hook(_without_reference)

    @property
    def layers(self) -> list[nn.Module]:
        """The repeated layers of the trunk: what FSDP shards one by one."""
        return layers_of(self.inner)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(
        self, pack: PackTensors, wants: Collection[str], reference: ReferenceStates | None = None
    ) -> dict[str, Tensor]:
        """What objectives read of a pack, float32 (float64 from a float64 model), with gradients.

        wants, any of: `logps`, `entropy`, `sum_p2`, `kl`, `values`, `foretold`, each (N,), at the trained response
        tokens (in nats; what is foretold of token t is read where t is predicted); `scores` (B,), read at each
        response's last token; `states` (N, D), what the output head reads, as it is.
        reference: the states of the model that `kl` is the divergence from, on the same pack.
        """
        assert wants, "a forward that nobody wants anything of"
        assert set(wants) <= WANTS, f"unknown: {set(wants) - WANTS}"
        assert ("kl" in wants) == (reference is not None), "a divergence has a reference"
        if self.frame is not None:
            assert set(wants) == {"scores"}, f"an encoder only scores, it cannot give {set(wants)}"
            with self._autocast(pack):
                return {"scores": _wide(padded.encoder_scores(self.inner, pack, self.frame))}
        states, sources, last = self._states(pack)
        out = {}
        if "scores" in wants:
            head = score_head(self.inner)
            assert head is not None, "scores of a model without a score head"
            out["scores"] = nn.functional.linear(_wide(states[last]), _wide(head.weight), head.bias)[:, 0]
        if wants == {"scores"}:
            return out
        states = states[sources]
        if "values" in wants:
            assert self.value_head is not None, "values of a model without a value head"
            out["values"] = self.value_head(_wide(states.detach()))[:, 0]
        if "foretold" in wants:
            assert self.reward_head is not None, "foretold rewards of a model without a reward head"
            out["foretold"] = -torch.sigmoid(self.reward_head(_wide(states))[:, 0])
        if {"logps", "entropy", "sum_p2", "kl", "states"} & set(wants):
            states = states if self.compute_dtype is None else states.to(self.compute_dtype)
        if {"logps", "entropy", "sum_p2", "kl"} & set(wants):
            stats = token_stats(
                states,
                lm_head(self.inner),
                pack.ids[pack.targets],
                entropy="entropy" in wants,
                sum_p2="sum_p2" in wants,
                reference=reference,
                chunk_bytes=self.chunk_bytes,
            )
            out |= {name: value for name, value in stats._asdict().items() if name in wants}
        return out | {"states": states} if "states" in wants else out

    def _states(self, pack: PackTensors) -> tuple[Tensor, Tensor, Tensor]:
        """Final hidden states as rows, and which rows predict the trained tokens and end the responses."""
        with self._autocast(pack):
            if self.packed:
                used = base_of(self.inner).config._attn_implementation
                assert used == attention.NAME, f"another attention, {used}, would read the pack"
                with attention.packed(pack.layout):
                    out = trunk_of(self.inner)(
                        input_ids=pack.ids[None], position_ids=pack.positions[None], use_cache=False
                    )
                return out[0][0], pack.sources, pack.last
            rows = padded.to_rows(pack, base_of(self.inner).config.get_text_config().pad_token_id or 0)
            return padded.forward(self.inner, rows), rows.sources, rows.last

    def _autocast(self, pack: PackTensors):
        if self.compute_dtype is None:
            return nullcontext()
        return torch.autocast(pack.ids.device.type, self.compute_dtype)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """While this lasts, a LoRA model is the model its run started from: its base, plus the adapter it continued."""
        assert hasattr(self.inner, "peft_config"), "only a LoRA model holds its own reference"
        if self.reference_adapter is None:
            with self.inner.disable_adapter():  # pyright: ignore[reportCallIssue]
                yield
            return
        trained = {parameter for parameter in self.inner.parameters() if parameter.requires_grad}
        active = self.inner.active_adapter
        try:
            self.inner.set_adapter(self.reference_adapter, inference_mode=True)  # pyright: ignore[reportCallIssue]
            yield
        finally:
            self.inner.set_adapter(active)  # pyright: ignore[reportCallIssue]
            for parameter in self.inner.parameters():
                parameter.requires_grad_(parameter in trained)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _without_reference(model: nn.Module, state: dict[str, Tensor], prefix: str, metadata: object) -> None:
    assert isinstance(model, PackedModel)
    for name in [name for name in state if f".{model.reference_adapter}." in name]:
        del state[name]
