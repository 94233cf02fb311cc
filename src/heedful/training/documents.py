"""From the settings to token stores of documents: streamed twice, once to survey them and once to tokenise them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heedful.config import TrainConfig
from heedful.examples import LoadReport
from heedful.examples.documents import documents_of, problem_of
from heedful.examples.loading import read_mixture
from heedful.examples.shape import Dropped
from heedful.objectives import conditional, filtering
from heedful.objectives.reduce import Objective
from heedful.objectives.trial import needs
from heedful.progress import counting
from heedful.tokens.documents import Controls, EncodedDocument, encode_documents, sequences
from heedful.tokens.prepare import ENCODING, kept
from heedful.tokens.report import DataReport, Finding
from heedful.tokens.store import VERSION, TokenStore
from heedful.tokens.templates import Template
from heedful.training.advantages import first_rows, make_sampler
from heedful.training.prepared import PreparedData
from heedful.training.shaping import span_controls
from heedful.types import Echo, Example, UserError

IDLE = ("rewards", "value", "view", "max_prompt_length", "sampling", "prefer", "train_on")
"""Settings of prompts and responses, which documents do not have."""

ABOVE = "a document with a score above the threshold"
SEEN = "a document of the tokens that are skipped"

SCORER = "scorer"
"""The column in which `heed score` says who judged."""

Stream = Callable[[], Iterable[Example | Dropped]]


def prepare_documents(
    config: TrainConfig, objective: Objective, template: Template, cache_dir: Path, echo: Echo
) -> PreparedData:
    """Everything from files to stores, for an objective on documents; no more than a block of them is in memory.

    Raises UserError for settings that say nothing of documents, data that cannot be read, and scores that the
    objective reads and documents lack.
    """
    refuse_idle_settings(config, objective)
    controls = span_controls(objective, config.seed)
    survey = Survey.of(config)
    for line in (f"{name} data: {line}" for name, source in survey.sources.items() for line in source.lines()):
        echo(line)
    if (line := survey.other_scorer()) is not None:
        echo(line)
    make = _Maker(config, template, cache_dir, echo)
    train = survey.stream("train")
    if objective.function is filtering:
        threshold = highest_score(objective, survey)
        echo(f"filtering: documents with a score above {threshold:.6g} are left out")
        seen = make.seen(train, survey) if config.skip_tokens else frozenset()
        store, report = make(
            lambda: kept_documents(train(), threshold, seen),
            None,
            "train",
            [*survey.name("train"), threshold, sorted(seen)],
        )
    else:
        store, report = make(train, controls, "train", survey.name("train"))
    _check(store, report, objective, "train", echo)
    make_sampler(config, objective, store)  # what it refuses, it refuses before any model is loaded
    extras = {"examples": {"train": survey.digest("train"), "eval": survey.digest("eval")}}
    if not survey.has_evaluation:
        return PreparedData(survey.sources, store, report, None, None, extras)
    held_out = make(survey.stream("eval"), controls, "eval", survey.name("eval"))
    _check(*held_out, objective, "eval", echo)
    return PreparedData(survey.sources, store, report, *held_out, extras)


def refuse_idle_settings(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError for settings that speak of prompts and responses."""
    for name in IDLE:
        if getattr(config, name) != TrainConfig.model_fields[name].default:
            raise UserError(f"{name} has no effect: {objective.name} learns from documents; leave it out.")


def refuse_for_prompts(config: TrainConfig, objective: Objective) -> None:
    """Raise UserError for settings that speak of documents."""
    for name in ("allow_crossing", "skip_tokens"):
        if getattr(config, name):
            raise UserError(
                f"{name} acts on documents, and {objective.name} learns from prompts with responses; leave it out."
            )


@dataclass
class Survey:
    """What one pass over the documents found: who they are, their scores, and which are held out.

    scores: of the training documents, NaN where nobody judged.  counts: documents of `train` and of `eval`.
    scorers: who judged them, as far as `heed score` wrote it down.
    """

    config: TrainConfig
    sources: dict[str, LoadReport] = field(default_factory=dict)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    digests: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    scorers: set[str] = field(default_factory=set)

    @staticmethod
    def of(config: TrainConfig) -> Survey:
        """Read all documents once."""
        survey = Survey(config)
        names = ["train", *(["eval"] if config.eval_data is not None else [])]
        digests = {name: hashlib.blake2b(digest_size=16) for name in ("train", "eval")}
        scores: list[float] = []
        for name in names:
            survey.sources[name] = LoadReport()
            for document in survey._read(name, survey.sources[name]):
                if isinstance(document, Dropped):
                    continue
                part = "eval" if name == "eval" or survey._is_held_out(document) else "train"
                digests[part].update(_content(document))
                survey.counts[part] += 1
                if (scorer := document.extra.get(SCORER)) is not None:
                    survey.scorers.add(str(scorer))
                if part == "train":
                    cost = document.responses[0].cost
                    scores.append(float("nan") if cost is None else cost)
        survey.scores = np.array(scores)
        survey.digests = {name: digest.hexdigest() for name, digest in digests.items()}
        return survey

    @property
    def has_evaluation(self) -> bool:
        """Whether documents are held out."""
        return self.config.eval_data is not None or self.config.eval_fraction is not None

    def other_scorer(self) -> str | None:
        """A line that says it where the documents were scored by another scorer than the one that watches."""
        watch = self.config.watch
        if watch is None or watch.scorer is None or self.scorers <= {watch.scorer}:
            return None
        return (
            f"the documents were scored by {', '.join(sorted(self.scorers))}, and what is watched is by "
            f"{watch.scorer}: their numbers, as segments/carried and segments/score, are of two kinds"
        )

    def digest(self, part: str) -> str:
        """Of the texts and scores of a part, `train` or `eval`."""
        return self.digests[part]

    def name(self, part: str) -> list[Any]:
        """What the content of a part's store depends on, beside the settings: the documents, and how many they are."""
        return [part, self.digests[part], self.counts[part]]

    def stream(self, part: str) -> Stream:
        """Reads the documents of a part, once more at every call."""
        if part == "eval" and self.config.eval_data is not None:
            return lambda: self._read("eval", LoadReport())
        held_out = part == "eval"
        return lambda: (
            one
            for one in self._read("train", LoadReport())
            if (not held_out if isinstance(one, Dropped) else self._is_held_out(one) == held_out)
        )

    def _read(self, name: str, report: LoadReport) -> Iterator[Example | Dropped]:
        config = self.config
        data = config.data if name == "train" else config.eval_data
        settings: dict[str, Any] = {"seed": config.seed, "readers": config.readers, "reader": config.reader}
        return documents_of(read_mixture(data, split=name, report=report, **settings))

    def _is_held_out(self, document: Example) -> bool:
        """By the text, so that the same text is never on both sides."""
        if self.config.eval_fraction is None:
            return False
        key = self.config.seed.to_bytes(8, "little")
        digest = hashlib.blake2b(document.responses[0].text.encode(), digest_size=8, key=key).digest()
        return int.from_bytes(digest, "little") < self.config.eval_fraction * 2**64


def _content(document: Example) -> bytes:
    response = document.responses[0]
    spans = [[span.start, span.end, span.score] for span in response.spans]
    return json.dumps([response.text, response.cost, response.weight, spans, document.origin]).encode()


def highest_score(objective: Objective, survey: Survey) -> float:
    """The score up to which filtering keeps documents.

    Raises UserError unless one of threshold and quantile is given, and if documents have no score.
    """
    threshold, quantile = (objective.settings[name] for name in ("threshold", "quantile"))
    if (threshold is None) == (quantile is None):
        raise UserError("filtering needs threshold=SCORE or quantile=SHARE, one of them: which documents are kept.")
    if num := int(np.isnan(survey.scores).sum()):
        raise UserError(
            f"filtering reads the score of every document, and {num:,} of {len(survey.scores):,} have none; "
            "score them first: heed score SCORER data=… out=…."
        )
    return threshold if quantile is None else float(np.quantile(survey.scores, quantile, method="lower"))


def kept_documents(
    documents: Iterable[Example | Dropped], threshold: float, seen: frozenset[int]
) -> Iterator[Example | Dropped]:
    """The documents that filtering keeps, and why it leaves out the others.

    seen: numbers of documents that an earlier run saw.
    """
    number = -1
    for document in documents:
        if isinstance(document, Dropped) or problem_of(document) is not None:
            yield document  # tokenising leaves it out, and gives it no number
            continue
        number += 1
        cost = document.responses[0].cost
        assert cost is not None
        reason = ABOVE if cost > threshold else SEEN if number in seen else None
        yield document if reason is None else Dropped(document.origin, reason)


class _Maker:
    """Streams of documents to stores, each made once and kept by content."""

    def __init__(self, config: TrainConfig, template: Template, cache_dir: Path, echo: Echo) -> None:
        self.config, self.template, self.cache_dir, self.echo = config, template, cache_dir, echo

    def __call__(
        self, stream: Stream, controls: Controls | None, name: str, content: list[Any]
    ) -> tuple[TokenStore, DataReport]:
        """The store of these documents and its report."""
        settings = {"max_length": self.config.max_length, "allow_crossing": self.config.allow_crossing}
        spelled = None if controls is None else list(vars(controls).values())
        state = [ENCODING, VERSION, self.template.vocabulary.digest(), settings, spelled, content]
        key = hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()

        def write(path: Path) -> tuple[TokenStore, DataReport]:
            report = DataReport(settings=settings)
            say = counting(f"documents of the {name} data tokenised", self.echo)
            encoded = encode_documents(self.template, stream(), controls)
            counted = _counted(encoded, report, lambda n: say(n, content[2]))
            laid = sequences(counted, self.template, self.config.max_length, allow_crossing=self.config.allow_crossing)
            store = TokenStore.write_stream(path, laid)
            _finish(report, store, self.template, controls)
            return store, report

        return kept(self.cache_dir / key, write)

    def seen(self, stream: Stream, survey: Survey) -> frozenset[int]:
        """The numbers of the documents that a run on all of them sees in its first `skip_tokens` tokens."""
        store, _ = self(stream, None, "unfiltered", survey.name("train"))
        rows = first_rows(store, self.config.seed, self.config.skip_tokens)
        numbers = np.append(store.example_rows, store.example_rows[-1])
        last = numbers[rows + 1] if self.config.allow_crossing else numbers[rows]
        return frozenset(
            number
            for first, end in zip(numbers[rows].tolist(), last.tolist(), strict=True)
            for number in range(first, end + 1)
        )


def _counted(
    encoded: Iterable[EncodedDocument | Dropped], report: DataReport, say: Callable[[int], None]
) -> Iterator[EncodedDocument]:
    for document in encoded:
        report.num_in += 1
        if isinstance(document, Dropped):
            report.drop(document.reason, document.origin)
            continue
        report.num_trained += 1
        yield document
        say(report.num_in)


def _finish(report: DataReport, store: TokenStore, template: Template, controls: Controls | None) -> None:
    """What the store says of itself."""
    report.digest, report.num_responses = store.digest, store.num_responses
    if len(store) == 0:
        reasons = "; ".join(f"{reason} ({tally.count:,} ×)" for reason, tally in report.dropped.items())
        sentence = f"no document is left to train on: {reasons or 'there were none'}"
        report.errors.append(Finding("nothing_left", sentence, report.num_in))
        return
    num_tokens = int(store.response_lengths.sum())
    report.tokens = {"start": int(store.prompt_lengths.sum()), "trained": num_tokens}
    report.lengths["sequence"] = [
        int(value) for value in np.quantile(store.example_lengths, (0, 0.5, 0.9, 1), method="higher")
    ]
    report.truncated = {"sequences that the documents became": store.num_examples}
    judged = store.token_scores[~np.isnan(store.token_scores)]
    if len(judged):
        text = f"from {judged.min():.4g} to {judged.max():.4g}, mean {judged.mean():.4g}"
        report.notes.append(f"token scores: {len(judged) / num_tokens:.1%} of the tokens have one, {text}")
    if controls is not None:
        ids = [template.vocabulary.special_id(token) for token in (controls.aligned, controls.misaligned)]
        aligned, misaligned = (store.count_tokens(index) for index in ids)
        report.notes.append(f"control tokens: {aligned:,} aligned, {misaligned:,} misaligned")


def _check(store: TokenStore, report: DataReport, objective: Objective, name: str, echo: Echo) -> None:
    """Say what was found; raise UserError if it cannot be trained on."""
    for line in report.lines():
        echo(f"{name} data: {line}")
    report.raise_for_errors()
    if "token_scores" in needs(objective) or objective.function is conditional:
        absent = int(np.isnan(store.token_scores).sum())
        if absent:
            first = store.origin(store.first_unscored())
            raise UserError(
                f"{objective.name} reads the score of every token, and {absent:,} of {len(store.token_scores):,} have "
                f"none (the first in {first}); score the documents first: heed score SCORER data=… out=…."
            )
