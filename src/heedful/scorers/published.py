"""The scorers that read files: what each wants, where its files are published, and how it is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heedful.scorers.scorer import Scorer
from heedful.types import UserError


@dataclass(frozen=True)
class FileScorer:
    """A scorer that is named with its files: `name:FOLDER`.

    place: `module:function` under `heedful.scorers`, called with what follows the colon and a device.
    form: what follows the colon.  reads: what of an example it judges.  values: the range, larger is better.
    source: where the files come from.
    """

    name: str
    place: str
    form: str
    reads: str
    values: str
    source: str

    def load(self, files: str, device: str) -> Scorer:
        """The scorer of these files.  Raises UserError, with the source, for whatever is wrong with them."""
        if not files:
            raise UserError(f"{self.name} reads files, so write {self.name}:{self.form}; it reads {self.source}")
        module, _, function = self.place.partition(":")
        # Imported only now: it loads torch.
        make: Callable[[str, str], Scorer] = getattr(importlib.import_module(f"heedful.scorers.{module}"), function)
        try:
            return make(files, device)
        except UserError as error:
            raise UserError(
                f"{self.name}: {str(error).rstrip('.')}; it reads {self.source}: lay that down and name the place, "
                f"{self.name}:{self.form}"
            ) from error


DETOXIFY = ("original", "unbiased", "multilingual")
"""Models that the package Detoxify fetches by name."""


def is_published(name: str) -> bool:
    """Whether Detoxify brings the model of that name, and no folder of the name is here."""
    return name in DETOXIFY and not Path(name).exists()


_HUB = "on the Hugging Face hub"
FILE_SCORERS = {
    s.name: s
    for s in (
        FileScorer(
            "cola_fluency",
            "classifiers:cola_fluency",
            "FOLDER",
            "the response",
            "P(acceptable), 0 to 1",
            f"textattack/roberta-base-CoLA {_HUB}",
        ),
        FileScorer(
            "dialogrpt_depth",
            "classifiers:dialogrpt_depth",
            "FOLDER",
            "turns<eos>response, without a knowledge turn",
            "0 to 1",
            f"microsoft/DialogRPT-depth {_HUB}",
        ),
        FileScorer(
            "dialogrpt_updown",
            "classifiers:dialogrpt_updown",
            "FOLDER",
            "turns<eos>response, without a knowledge turn",
            "0 to 1",
            f"microsoft/DialogRPT-updown {_HUB}",
        ),
        FileScorer(
            "faith_critic",
            "classifiers:faith_critic",
            "FOLDER",
            "the pair (knowledge, response); the prompt's first turn is 'Knowledge: …'",
            "P(entailed), 0 to 1",
            f"McGill-NLP/roberta-large-faithcritic {_HUB}",
        ),
        FileScorer(
            "toxichat",
            "classifiers:toxichat",
            "FOLDER",
            "turns<eos>response<eos>",
            "P(not offensive), 0 to 1",
            "ToxiChat's DGPT_medium_OC_S_and_SBF_offensive_e2, which the README of abaheti95/LoL-RL links to",
        ),
        FileScorer(
            "comet_critic",
            "comet_critic:comet_critic",
            "FOLDER",
            "the event and relation of the prompt with the response",
            "P(valid), 0 to 1",
            "the critic original_from_paper.zip of peterwestai2/symbolic-knowledge-distillation, its weights saved as "
            ".h5 and rewritten by heed model convert critic.h5 FOLDER --like roberta-large-mnli",
        ),
        FileScorer(
            "open_assistant",
            "open_assistant:open_assistant",
            "FOLDER",
            "the dialogue with the response as its last turn",
            "a logit, without bounds",
            "OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5 (training) or oasst-rm-2-pythia-6.9b-epoch-1 (test) "
            f"{_HUB}",
        ),
        FileScorer(
            "tfidf_diversity",
            "tfidf:tfidf_diversity",
            "FILE",
            "the response",
            "0 to 0.447",
            "the training responses, as data or as the counts that were saved of them",
        ),
        FileScorer(
            "toxicity",
            "toxicity:toxicity",
            "NAME or FOLDER",
            "the text",
            "P(toxic), 0 to 1; smaller is better",
            "original, unbiased or multilingual of Detoxify (pip install 'heedful[detoxify]'), or any sequence "
            "classifier with a label toxicity or toxic",
        ),
        FileScorer(
            "lexicon",
            "lexicon:lexicon",
            "FILE",
            "the text",
            "words of the list per character; smaller is better",
            "a file with one word a line",
        ),
        FileScorer(
            "classifier",
            "classifiers:classifier",
            "FOLDER:LABEL",
            "the response; the pair with its prompt (FOLDER:LABEL:pair), or both as one text (FOLDER:LABEL:joined)",
            "P(LABEL), 0 to 1; not-LABEL is 1 - P; of documents smaller is better",
            "any sequence classifier",
        ),
    )
}
"""By name."""
