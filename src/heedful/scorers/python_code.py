"""Scores of Python code.  What is judged is prompt + response, as a function's header and the body sampled for it."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Sequence

from heedful.scorers.documents import lines_of, tiled
from heedful.types import Span

PEP8_FAILURE = 10.0
"""What a body that is empty, unfinished or does not parse counts: a violation in every ten characters."""


def pep8(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """PEP 8 violations per 100 characters of the response, by pycodestyle's defaults; at most `PEP8_FAILURE`.

    Only violations on the response's lines count, so that a prompt's own are nobody's.  A response that is empty, or
    does not parse together with its prompt, counts `PEP8_FAILURE`: nothing can be tidy by not being Python.
    (Korbak et al. 2023, arXiv:2302.08582, count the empty and the broken text 0.)
    """
    return [_pep8(p, r) for p, r in zip(prompts, responses, strict=True)]


def parses(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """1 if prompt + response is Python that parses and the response says something, else 0."""
    return [float(_parses(p, r)) for p, r in zip(prompts, responses, strict=True)]


def statements(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Statements of the response under its prompt (a header); 0 if they do not parse together.

    A length that comments, strings and blank lines do not add to.
    """
    return [float(_statements(p, r)) for p, r in zip(prompts, responses, strict=True)]


def _statements(prompt: str, response: str) -> int:
    if not _parses(prompt, response):
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = _count(ast.parse(prompt + response))
    try:
        return whole - _count(ast.parse(f"{prompt}    pass\n")) + 1
    except SyntaxError:  # the prompt is no header
        return whole


def _count(tree: ast.AST) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree))


def _pep8(prompt: str, response: str) -> float:
    if not _parses(prompt, response):
        return PEP8_FAILURE
    return min(100.0 * len(violations(prompt, response)) / len(response), PEP8_FAILURE)


def _parses(prompt: str, response: str) -> bool:
    if not response.strip():
        return False
    try:
        with warnings.catch_warnings():  # invalid escapes and the like are warnings to a terminal, not to us
            warnings.simplefilter("ignore")
            ast.parse(prompt + response)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def pep8_documents(texts: Sequence[str]) -> list[tuple[float, list[Span]]]:
    """PEP 8 violations per character of each text, and of each of its lines, newline included; by pycodestyle.

    It need not parse.  A text that pycodestyle cannot read counts 0, as in Korbak et al. 2023, arXiv:2302.08582.
    """
    return [_pep8_document(text) for text in texts]


def _pep8_document(text: str) -> tuple[float, list[Span]]:
    from heedful.scorers.pep8_checks import found_in

    lines = lines_of(text)
    try:
        found = [line for line, _ in found_in(list(lines))]  # a copy: a byte order mark is taken off the first
    except (UnicodeError, IndexError, ValueError, RecursionError):
        found = []
    counts = Counter(min(max(line, 1), len(lines)) for line in found)
    spans = tiled(lines, (counts[number] / len(line) for number, line in enumerate(lines, start=1)))
    return len(found) / max(len(text), 1), spans


def violations(prompt: str, response: str) -> list[str]:
    """The codes of pycodestyle's violations on the lines of the response, in no particular order."""
    from heedful.scorers.pep8_checks import found_in

    first = prompt.count("\n") + 1
    return [code for line, code in found_in((prompt + response).splitlines(keepends=True)) if line >= first]
