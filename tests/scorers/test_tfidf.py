from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.scorers import get
from heedful.scorers.tfidf import fit, load, terms
from heedful.types import UserError

words = st.lists(st.sampled_from(["the", "cat", "dog", "ran", "away", "a", "red", "Fox", "42", "x_1"]), max_size=12)
texts = words.map(" ".join)


def dense_oracle(collection: list[str], text: str) -> float:
    """The same from matrices of all terms: counts times idf, rows of norm 1, mean over what is not zero."""
    split = [re.findall(r"(?u)\b\w\w+\b", t.lower()) for t in collection]
    vocabulary = sorted({term for row in split for term in row})
    counts = np.array([[row.count(term) for term in vocabulary] for row in split], float).reshape(len(split), -1)
    idf = np.log((1 + len(split)) / (1 + (counts > 0).sum(0))) + 1
    row = np.array([re.findall(r"(?u)\b\w\w+\b", text.lower()).count(term) for term in vocabulary]) * idf
    norm = np.linalg.norm(row)
    values = row[row > 0] / (norm or 1)
    return 0.0 if not len(values) else float(values.mean() * (len(values) / 10 if len(values) < 5 else 1))


def test_hand_worked_diversity():
    # n = 2, df(the) = 2, df(cat) = 1: idf(the) = ln(3/3) + 1 = 1, idf(cat) = ln(3/2) + 1 = 1.4054651.
    # "The cat, cat!": the 1 · 1, cat 2 · 1.4054651 = 2.8109302; norm √(1 + 7.9013286) = 2.9835094.
    # Mean (1 + 2.8109302) / 2.9835094 / 2 = 0.6386657; two terms are fewer than five: times 2/10.
    tfidf = fit(["the cat", "the dog"])
    assert tfidf.diversity("The cat, cat!") == pytest.approx(0.12773314, abs=1e-7)


def test_few_terms_are_scaled_down_and_five_are_not():
    vocabulary = "aa bb cc dd ee ff"
    tfidf = fit([vocabulary])
    # Terms that weigh the same: n of them have 1/√n each.
    for num, wanted in ((1, 0.1), (4, 0.2), (5, 5**-0.5), (6, 6**-0.5)):
        assert tfidf.diversity(vocabulary[: 3 * num]) == pytest.approx(wanted)


def test_unknown_words_and_single_letters_are_no_terms():
    tfidf = fit(["the cat sat"])
    assert tfidf.diversity("") == tfidf.diversity("a dog ran") == 0
    assert tfidf.diversity("the dog") == pytest.approx(0.1)
    assert terms("A x_1, naïve Ünder—42!") == ["x_1", "naïve", "ünder", "42"]


@given(st.lists(texts, min_size=1, max_size=6), texts)
def test_the_sparse_count_is_the_dense_matrices(collection, text):
    assert fit(collection).diversity(text) == pytest.approx(dense_oracle(collection, text), abs=1e-12)


def test_it_is_fitted_on_data_or_read_from_its_counts(tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps({"prompt": "Say", "completion": c}) + "\n" for c in ("the cat", "the dog")))
    fit(["the cat", "the dog"]).save(tmp_path / "counts.json")
    assert load(tmp_path / "counts.json") == fit(["the cat", "the dog"])
    for source in ("train.jsonl", "counts.json"):
        judge = get(f"tfidf_diversity:{tmp_path / source}")
        assert judge(["Say", "Say"], ["The cat, cat!", ""]) == [pytest.approx(0.12773314, abs=1e-7), 0]


def test_damaged_counts_are_refused(tmp_path):
    (tmp_path / "counts.json").write_text('{"num_texts": 2, "document')
    with pytest.raises(UserError, match=r"counts\.json does not hold the counts"):
        get(f"tfidf_diversity:{tmp_path / 'counts.json'}")
    with pytest.raises(UserError, match="no texts"):
        fit([])
