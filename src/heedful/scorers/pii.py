"""Personal information in a text: addresses, numbers and names that point to a person, by pattern recognisers.

Presidio's recognisers are asked one by one, without its engine, which would download a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from heedful.scorers.documents import counting
from heedful.scorers.scorer import Scorer
from heedful.types import UserError

Finding = tuple[int, int]
"""Characters [start, end) of a text."""

Find = Callable[[str], Iterable[Finding]]

LEAST_CONFIDENCE = 0.4
NAMES = frozenset({"PERSON", "PER", "ORG"})
"""Kinds of entities of a spaCy model that count."""


def pii(backend: str = "") -> Scorer:
    """Findings per character of a text, spans by sentence; lower is better.

    backend: empty for pattern recognisers (mail, phone, card, IBAN, IP, URL, date, social security number, crypto
    wallet); `scrubadub` for that package's detectors, which the published recipe used; else a spaCy model (name or
    folder) whose persons and organisations count beside the patterns.
    Raises UserError if a package or model is not installed, with the line that installs it.
    """
    if backend == "scrubadub":
        find = _scrubadub()
    else:
        find = _patterns()
        if backend:
            find = _both(find, _entities(backend))

    about = f"findings of personal information per character{f' ({backend})' if backend else ''}"
    return counting("pii", lambda text: [start for start, _ in merged(find(text))], about)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that overlap or touch count once."""
    found: list[Finding] = []
    for start, end in sorted(findings):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _both(first: Find, second: Find) -> Find:
    return lambda text: [*first(text), *second(text)]


@cache
def _patterns() -> Find:
    try:
        import tldextract
        from presidio_analyzer import predefined_recognizers as known
    except ImportError:
        raise UserError("pii needs presidio: pip install 'heedful[pii]'") from None

    suffixes = tldextract.TLDExtract(suffix_list_urls=())  # the list that comes with the package: nothing is fetched

    class Mail(known.EmailRecognizer):
        """Presidio's own would fetch the list of public suffixes."""

        def validate_result(self, pattern_text: str) -> bool:
            return suffixes(pattern_text).fqdn != ""

    class Url(known.UrlRecognizer):
        """Presidio's own would take os.path, or a sentence's end without a blank behind it, for an address."""

        def invalidate_result(self, pattern_text: str) -> bool:
            return "/" not in pattern_text and not pattern_text.lower().startswith("www.")

    kinds = ("Phone", "CreditCard", "Iban", "Ip", "Date", "UsSsn", "Crypto")
    recognisers: list[Any] = [Mail(), Url(), *(getattr(known, f"{kind}Recognizer")() for kind in kinds)]

    def find(text: str) -> list[Finding]:
        results = [r for one in recognisers for r in one.analyze(text, one.supported_entities, None)]
        return [(r.start, r.end) for r in results if r.score >= LEAST_CONFIDENCE]

    return find


def _entities(model: str) -> Find:
    import spacy

    try:
        pipeline = spacy.load(model)
    except (OSError, ValueError):
        raise UserError(f"pii:{model}: spaCy has no such model; python -m spacy download {model} gets it") from None

    def find(text: str) -> list[Finding]:
        return [(e.start_char, e.end_char) for e in pipeline(text).ents if e.label_ in NAMES]

    return find


def _scrubadub() -> Find:
    try:
        import scrubadub  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("pii:scrubadub needs scrubadub: pip install 'heedful[scrubadub]'") from None
    scrubber = scrubadub.Scrubber()
    return lambda text: [(filth.beg, filth.end) for filth in scrubber.iter_filth(text)]
