"""How rare and how many the words of a response are: the tf-idf diversity of A-LoL's dialogue rewards."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.scorers.scorer import Scorer
from heedful.types import UserError

_TERM = re.compile(r"\b\w\w+\b")
_BEGINNING = '{"num_texts"'
FEW = 5
"""A response with fewer different terms is scaled down to terms / 10."""


@dataclass(frozen=True)
class Tfidf:
    """What a collection of texts says about its terms, as scikit-learn's CountVectorizer and TfidfTransformer count.

    num_texts: n.  document_frequency: df(t), in how many of the texts a term stands.
    """

    num_texts: int
    document_frequency: dict[str, int]

    def weights(self, text: str) -> list[float]:
        """The text's non-zero tf-idf values, of norm 1; empty for a text without a known term.

        tf(t) · idf(t), divided by their Euclidean norm; tf(t) counts, idf(t) = ln((1 + n) / (1 + df(t))) + 1.
        """
        counts = Counter(term for term in terms(text) if term in self.document_frequency)
        raw = [count * self._idf(term) for term, count in counts.items()]
        norm = math.sqrt(sum(value * value for value in raw))
        return [value / norm for value in raw]

    def diversity(self, text: str) -> float:
        """Mean of the non-zero tf-idf values, times terms / 10 for fewer than 5 different terms; 0 without any.

        Baheti et al. 2024, arXiv:2305.14718.  At most 1/√5: five terms that weigh the same.
        """
        weights = self.weights(text)
        if not weights:
            return 0.0
        scale = len(weights) / 10 if len(weights) < FEW else 1.0
        return sum(weights) / len(weights) * scale

    def _idf(self, term: str) -> float:
        return math.log((1 + self.num_texts) / (1 + self.document_frequency[term])) + 1

    def save(self, path: str | Path) -> None:
        """Write the counts as JSON."""
        content = {"num_texts": self.num_texts, "document_frequency": self.document_frequency}
        Path(path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def terms(text: str) -> list[str]:
    """Words of at least two letters, digits or underscores, in lower case."""
    return _TERM.findall(text.lower())


def fit(texts: Iterable[str]) -> Tfidf:
    """Count the terms of a collection of texts: the training set's responses, with whatever marks stand in them.

    Raises UserError if there are none.
    """
    num, frequency = 0, Counter()
    for text in texts:
        num += 1
        frequency.update(set(terms(text)))
    if not num:
        raise UserError("there are no texts whose words could be counted")
    return Tfidf(num, dict(sorted(frequency.items())))


def load(path: str | Path) -> Tfidf:
    """The counts that `Tfidf.save` wrote.  Raises UserError for another file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        frequency = {str(term): int(count) for term, count in content["document_frequency"].items()}
        return Tfidf(int(content["num_texts"]), frequency)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the counts that a tf-idf was saved as: {error}") from error


def tfidf_diversity(source: str, device: str) -> Scorer:
    """The diversity of the response's words among the training responses.

    source: a `.json` file of counts (`Tfidf.save`), or data (anything `data=` takes) whose responses are counted now.
    """
    tfidf = load(source) if _holds_counts(source) else fit(_responses(source))

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [tfidf.diversity(response) for response in responses]

    about = f"mean tf-idf of the response's words among the {tfidf.num_texts:,} responses of {source}"
    return Scorer("tfidf_diversity", function, False, None, about)


def _holds_counts(source: str) -> bool:
    """Whether a file begins as `Tfidf.save` writes it."""
    path = Path(source)
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


def _responses(source: str) -> list[str]:
    from heedful.examples import load as load_examples

    return [response.text for example in load_examples(source) for response in example.responses]
