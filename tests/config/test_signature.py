"""A schema from a signature."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt
from pydantic import ValidationError

from heedful.config import settings_model
from heedful.types import UserError

Positive = Annotated[float, Gt(0)]


def loss(
    view: Shape,  # type: ignore[name-defined]
    z: float,
    *,
    beta: Positive = 0.1,
    power: "Annotated[int, Ge(1)] | None" = None,  # noqa: UP037  (quoted twice over, as people write)
    kind: Literal["hinge", "sigmoid"] = "hinge",
    target: float,
    state: Any = None,
    generator: Any = None,
) -> Tensor:  # type: ignore[name-defined]
    """A loss.

    beta: how strong; larger
        holds harder.
    power, kind: the shape of it.

    And a remark: not a setting.
    """


def test_the_keyword_only_parameters_are_the_fields() -> None:
    model = settings_model(loss)
    assert list(model.model_fields) == ["beta", "power", "kind", "target"]
    assert model(target=1).model_dump() == {"beta": 0.1, "power": None, "kind": "hinge", "target": 1.0}


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"power": 0}, {"kind": "x"}, {"other": 1}, {"target": "x"}])
def test_types_bounds_and_names_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings_model(loss)(**({"target": 1} | wrong))


def test_descriptions_come_from_the_docstring() -> None:
    fields = settings_model(loss).model_fields
    assert fields["beta"].description == "how strong; larger holds harder."
    assert fields["power"].description == fields["kind"].description == "the shape of it."
    assert fields["target"].description is None


def test_a_decorated_function_keeps_its_settings() -> None:
    @functools.wraps(loss)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return loss(*args, **kwargs)

    assert list(settings_model(wrapped).model_fields) == ["beta", "power", "kind", "target"]


def untyped(view, *, beta=0.1): ...


def swallowing(view, **kwargs): ...


def taken(view, *, name: str = "x"): ...


def unreadable(view, *, beta: Missing = 0.1): ...  # type: ignore[name-defined]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (untyped, "untyped: the setting beta has no type"),
        (swallowing, r"swallowing: \*\*kwargs would swallow"),
        (taken, "taken: a setting cannot be called name"),
        (unreadable, "unreadable: the type Missing of beta cannot be read"),
    ],
)
def test_signatures_that_cannot_be_a_schema_are_refused(function: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        settings_model(function)
