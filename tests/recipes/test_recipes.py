"""Every recipe loads, every objective has one, and each says in its first line what it is for."""

from __future__ import annotations

import pytest

from heedful import recipes
from heedful.config import load_train
from heedful.objectives import REGISTRY, get
from heedful.types import UserError


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_loads(name: str) -> None:
    config = load_train([recipes.recipe_path(name)], ["model=m", "data=d"], find=get)
    assert config.objective.name in REGISTRY
    assert len(recipes.about(name)) > 20


def test_every_published_halo_has_a_recipe() -> None:
    halos = {name.removeprefix("halos/") for name in recipes.names() if name.startswith("halos/")}
    assert {"sft", "dpo", "cdpo", "ipo", "simpo", "slic", "kto", "bradley-terry"} <= halos


def test_a_mistyped_recipe_suggests() -> None:
    with pytest.raises(UserError, match="did you mean demo/kto"):
        recipes.recipe_path("demo/kot")
    with pytest.raises(UserError, match="there is no such recipe"):
        recipes.recipe_path("../config/x")
