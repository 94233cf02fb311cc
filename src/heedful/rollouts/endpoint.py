"""A language model behind OpenAI's API: completions with log-probabilities, and chat.

What is busy (429), broken (5xx), unreachable or too slow is asked again, later each time; then one sentence says so.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from heedful.types import RunError, UserError

LONGEST_WAIT_S = 120.0
"""However long a server asks to be left alone."""


@dataclass(frozen=True)
class Completion:
    """One continuation.

    tokens, logps: with log-probabilities asked for, the tokens as the server spells them and log p of each in nats;
    None for the first of an echoed prompt, which follows nothing.
    finished: whether the model ended it, rather than the length limit.
    """

    text: str
    tokens: list[str]
    logps: list[float | None]
    finished: bool


@dataclass(frozen=True)
class Endpoint:
    """A server and one of its models.

    base_url: up to `/v1`.  timeout_s: of one request.  retries: further tries of a request; backoff_s: the wait before
    the first of them, which doubles.
    """

    base_url: str
    model: str
    timeout_s: float = 120.0
    retries: int = 5
    backoff_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def completions(
        self,
        prompt: str,
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        logprobs: bool = False,
        echo: bool = False,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[Completion]:
        """n continuations of a prompt.  Raises RunError if the server cannot give them."""
        body: dict[str, Any] = {"prompt": prompt, "max_tokens": max_tokens, "n": n}
        body |= {"temperature": temperature, "top_p": top_p, "echo": echo}
        body |= {"logprobs": 0} if logprobs else {}
        body |= {"seed": seed} if seed is not None else {}
        body |= {"stop": list(stop)} if stop else {}
        answer = self._ask("completions", body)
        try:
            found = [self._completion(choice, logprobs) for choice in answer["choices"]]
            if not found:
                raise RunError(f"{self.base_url} answered without one completion.")
            return found
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{self.base_url} answered something that is no completion ({error!r}).") from None

    def chat(
        self, messages: Sequence[dict[str, str]], *, max_tokens: int, n: int = 1, temperature: float = 1.0,
        top_p: float = 1.0, seed: int | None = None,
    ) -> list[str]:  # fmt: skip
        """n answers to a conversation, as text.  Raises RunError if the server cannot give them."""
        body: dict[str, Any] = {"messages": list(messages), "max_tokens": max_tokens, "n": n}
        body |= {"temperature": temperature, "top_p": top_p}
        body |= {"seed": seed} if seed is not None else {}
        answer = self._ask("chat/completions", body)
        try:
            return [str(choice["message"]["content"] or "") for choice in answer["choices"]]
        except (KeyError, TypeError) as error:
            raise RunError(f"{self.base_url} answered something that is no chat ({error!r}).") from None

    def _completion(self, choice: dict[str, Any], logprobs: bool) -> Completion:
        given = choice.get("logprobs") or {}
        if not isinstance(choice["text"], str):
            raise TypeError("its text is none")
        if logprobs and given.get("token_logprobs") is None:
            raise RunError(
                f"{self.base_url} gives no log-probabilities with its completions, which are needed here; "
                "name a server that does."
            )
        tokens, logps = given.get("tokens") or [], given.get("token_logprobs") or []
        if any(logp is not None and not math.isfinite(logp) for logp in logps):
            raise RunError(f"{self.base_url} gives log-probabilities that are not finite.")
        return Completion(choice["text"], list(tokens), list(logps), choice.get("finish_reason") == "stop")

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        import httpx

        url = f"{self.base_url.rstrip('/')}/{path}"
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        problem, jitter = "", random.Random(url)
        for attempt in range(self.retries + 1):
            wait = self.backoff_s * 2**attempt * (1 + 0.25 * jitter.random())
            try:
                answer = httpx.post(url, json={"model": self.model, **body}, headers=headers, timeout=self.timeout_s)
            except httpx.TimeoutException:
                problem = f"did not answer within {self.timeout_s:g} s"
            except httpx.HTTPError as error:
                problem = f"cannot be reached ({error})"
            else:
                if answer.status_code == 200:
                    try:
                        return answer.json()
                    except ValueError:
                        raise RunError(f"{url} answered something that is not JSON.") from None
                problem = f"answered {answer.status_code}: {' '.join(answer.text.split())[:200]}"
                if answer.status_code != 429 and answer.status_code < 500:
                    raise RunError(f"{url} {problem}")
                wait = max(wait, _seconds(answer.headers.get("retry-after")))
            if attempt < self.retries:
                self.sleep(wait)
        raise RunError(f"{url} {problem}; asked {self.retries + 1} times.")


def is_endpoint(name: str) -> bool:
    """Whether a model's name is that of an endpoint, `URL#MODEL`."""
    return name.startswith(("http://", "https://"))


def parse_endpoint(name: str) -> Endpoint:
    """The endpoint of `http://HOST/v1#MODEL`.  Raises UserError without a model."""
    url, _, model = name.partition("#")
    if not is_endpoint(name) or not model:
        raise UserError(f"{name}: write an endpoint as URL#MODEL, as http://127.0.0.1:8000/v1#my-model.")
    import httpx

    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as problem:
        raise UserError(f"{name}: this is no address ({problem}).") from None
    if not host:
        raise UserError(f"{name}: the address names no host.")
    return Endpoint(url, model)


def _seconds(header: str | None) -> float:
    try:
        return min(float(header), LONGEST_WAIT_S) if header else 0.0
    except ValueError:
        return 0.0
