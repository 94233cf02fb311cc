"""A model behind an API: what is asked, what comes back, and what happens when nothing does."""

from __future__ import annotations

import math

import pytest

from heedful.rollouts import endpoint as module
from heedful.rollouts.endpoint import Endpoint, is_endpoint, parse_endpoint
from heedful.types import RunError, UserError
from tests.completions_server import Script, completions_server


def endpoint(url: str, waits: list[float], **settings) -> Endpoint:
    return Endpoint(url, "toy", sleep=waits.append, **settings)


def test_completions_with_logprobs():
    script = Script()
    with completions_server(script) as url:
        [one, two] = endpoint(url, []).completions("", max_tokens=5, n=2, logprobs=True, seed=3)
    assert len(one.tokens) == len(one.logps) == 5
    assert one.logps == [-math.log(6)] * 5
    assert one.text == "".join(one.tokens) != two.text
    assert not one.finished
    assert script.asked[0]["model"] == "toy"


def test_echo_gives_the_prompt_too_and_nothing_for_its_first_token():
    with completions_server(Script()) as url:
        [one] = endpoint(url, []).completions("abc", max_tokens=2, logprobs=True, echo=True)
    assert one.text.startswith("abc")
    assert one.logps == [None] + [-math.log(6)] * 4


def test_chat():
    with completions_server(Script(chat="hello")) as url:
        assert endpoint(url, []).chat([{"role": "user", "content": "hi"}], max_tokens=5, n=2) == ["hello", "hello"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_and_broken_servers_are_asked_again_later_and_later(status):
    waits: list[float] = []
    with completions_server(Script(statuses=[status, status])) as url:
        assert endpoint(url, waits).completions("", max_tokens=1)
    assert len(waits) == 2
    assert waits[1] > waits[0] >= 1.0 or status == 429
    if status == 429:
        assert min(waits) >= 3.0  # as its Retry-After says


def test_a_server_that_stays_broken_ends_in_one_sentence():
    waits: list[float] = []
    with (
        completions_server(Script(statuses=[500] * 9)) as url,
        pytest.raises(RunError, match=r"answered 500.*asked 3 times"),
    ):
        endpoint(url, waits, retries=2).completions("", max_tokens=1)
    assert len(waits) == 2


def test_a_mistake_in_what_is_asked_is_not_asked_again():
    script = Script(statuses=[404])
    with completions_server(script) as url, pytest.raises(RunError, match=r"answered 404: .*status 404"):
        endpoint(url, []).completions("", max_tokens=1)
    assert len(script.asked) == 1


def test_a_server_that_never_answers():
    with completions_server(Script(silent=True)) as url, pytest.raises(RunError, match=r"within 0.2 s; asked 2 times"):
        endpoint(url, [], retries=1, timeout_s=0.2).completions("", max_tokens=1)


def test_no_server():
    with pytest.raises(RunError, match="cannot be reached"):
        endpoint("http://127.0.0.1:9/v1", [], retries=0).completions("", max_tokens=1)


def test_a_server_without_logprobs():
    with completions_server(Script(logprobs=False)) as url, pytest.raises(RunError, match="no log-probabilities"):
        endpoint(url, []).completions("", max_tokens=1, logprobs=True)


def test_names():
    assert parse_endpoint("http://h:1/v1#m") == Endpoint("http://h:1/v1", "m")
    assert is_endpoint("https://h/v1#m")
    assert not is_endpoint("models/gpt")
    with pytest.raises(UserError, match="URL#MODEL"):
        parse_endpoint("http://h:1/v1")


@pytest.mark.parametrize("name", ["http://[::1/v1#m", "http://#m", "http:///v1#m"])
def test_an_address_that_is_none_is_told_before_anything_is_asked(name):
    with pytest.raises(UserError, match="address"):
        parse_endpoint(name)


@pytest.mark.parametrize(("header", "wait"), [("3", 3.0), ("86400", 120.0), ("inf", 120.0), ("soon", 0.0)])
def test_a_server_is_not_left_alone_for_longer_than_two_minutes(header, wait):
    assert module._seconds(header) == wait
