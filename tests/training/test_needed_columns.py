"""A column of the user's own that an objective's setting asks for must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.config import load_train
from heedful.objectives import bind, get
from heedful.proofs.stage import random_data
from heedful.tokens.store import TokenStore
from heedful.training.data import check_labels
from heedful.types import UserError


def test_density_ratios_need_their_probability(tmp_path: Path) -> None:
    store = TokenStore.write(tmp_path / "store", *random_data((2, 2), mismatched=False, weights=False))
    config = load_train([], ["model=m", "data=d", "objective=bco"], find=get)
    check_labels(store, config, bind("bco", {}))
    with pytest.raises(UserError, match=r"bco needs the prompt_desirability of every response, and 4 of 4 have none"):
        check_labels(store, config, bind("bco", {"density_ratio": True}))
