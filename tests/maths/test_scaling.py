"""The expected loss of a language model."""

from __future__ import annotations

import pytest

from heedful.maths import expected_loss


def test_by_hand():
    # GPT-2 small on the published budget: 1.69 + 406.4/124,439,808^0.34 + 410.7/3.3e9^0.28
    assert expected_loss(124_439_808, 3.3e9) == pytest.approx(3.2967508698675263, rel=1e-12)


def test_more_of_either_leads_to_less():
    assert expected_loss(10**6, 10**6) > expected_loss(10**7, 10**6) > expected_loss(10**7, 10**7) > 1.69


@pytest.mark.parametrize(("num_parameters", "num_tokens"), [(0, 1), (1, 0)])
def test_nothing_has_no_expectation(num_parameters, num_tokens):
    with pytest.raises(ValueError, match="above 0"):
        expected_loss(num_parameters, num_tokens)
