"""Published classifiers as scorers of responses, each with the pairing of texts it was published with.

Every number is a probability, larger is better, and an empty response scores 0 without the model being asked: silence
is neither fluent nor safe.  A response that the length limit cut is judged like any other, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np

from heedful.scorers.dialogue import bare, dialogue_text, knowledge_of, spoken, turns_of
from heedful.scorers.pretrained import folder_of, load_classifier, load_config, load_with_head
from heedful.scorers.scorer import ScoreFunction, Scorer, texts_of
from heedful.scorers.text_model import TextModel
from heedful.types import Span, UserError

WORST = 0.0
"""What an empty response counts."""

Parts = Literal["response", "pair", "joined"]
"""What a classifier of the user's own reads: the response, the pair (prompt, response), or both as one text."""


def cola_fluency(folder: str, device: str) -> Scorer:
    """P(acceptable) of the response alone by a classifier trained on CoLA, whose label 1 is acceptable."""
    model, config = load_classifier(folder, device, max_length=512)
    _check_labels(folder, config, 2)

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return softmax(model([bare(r) for r in responses]))[:, 1]

    return dialogue_scorer("cola_fluency", model, function, f"P(acceptable) by {folder}")


def dialogrpt_depth(folder: str, device: str) -> Scorer:
    """How long a thread the response starts: σ of DialogRPT's one logit.  Gao et al. 2020, arXiv:2009.06978."""
    return _dialogrpt("dialogrpt_depth", folder, device)


def dialogrpt_updown(folder: str, device: str) -> Scorer:
    """How many upvotes the response gets: σ of DialogRPT's one logit.  Gao et al. 2020, arXiv:2009.06978."""
    return _dialogrpt("dialogrpt_updown", folder, device)


def _dialogrpt(name: str, folder: str, device: str) -> Scorer:
    """Reads turn<eos>…<eos>response, judged at its last token, no <eos> after it, a knowledge turn left out."""
    model, config = load_classifier(folder, device)
    _check_labels(folder, config, 1)
    end = model.tokenizer.eos_token

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        texts = [end.join([*spoken(turns_of(p)), bare(r)]) for p, r in zip(prompts, responses, strict=True)]
        return sigmoid(model(texts)[:, 0])

    return dialogue_scorer(name, model, function, f"σ of the one logit of {folder}")


def faith_critic(folder: str, device: str) -> Scorer:
    """P(the knowledge entails the response), label 0 of a critic of pairs (knowledge, response).

    Dziri et al. 2022, arXiv:2204.10757.  Raises UserError for a prompt that does not begin with its knowledge.
    """
    model, config = load_classifier(folder, device, max_length=512)
    _check_labels(folder, config, 2)

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return softmax(model([_knowledge(p) for p in prompts], [bare(r) for r in responses]))[:, 0]

    return dialogue_scorer("faith_critic", model, function, f"P(entailed by the knowledge) by {folder}")


def _knowledge(prompt: str) -> str:
    found = knowledge_of(turns_of(prompt))
    if found is None:
        raise UserError(
            f"faith_critic: the prompt {prompt[:40]!r} does not begin with 'Knowledge: …', so there is nothing that "
            "its response could be faithful to"
        )
    return found


def toxichat(folder: str, device: str) -> Scorer:
    """P(not offensive), class 0 of ToxiChat's classifier at the <eos> of the response.

    A GPT-2 with the linear layer `off_classifier`; reads turn<eos>…<eos>response<eos>, the last 512 tokens of it.
    Baheti et al. 2021, arXiv:2108.11830.
    """
    from transformers import GPT2Model

    config = load_config(folder_of(folder))
    if config.model_type != "gpt2":
        raise UserError(f"{folder} is a {config.model_type}; ToxiChat's classifiers are GPT-2")
    model = load_with_head(GPT2Model, folder, config, "off_classifier", device, max_length=512)
    end = model.tokenizer.eos_token

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        texts = [end.join([*turns_of(p), bare(r), ""]) for p, r in zip(prompts, responses, strict=True)]
        return softmax(model(texts))[:, 0]

    return dialogue_scorer("toxichat", model, function, f"P(not offensive) by {folder}")


def classifier(spec: str, device: str) -> Scorer:
    """P(LABEL) by any sequence classifier; spec: `FOLDER:LABEL`, `FOLDER:LABEL:pair`, `FOLDER:LABEL:joined`, `FOLDER`.

    LABEL: a label of the folder's config, its number, or `not-LABEL` for 1 - P(LABEL); the last label if none is named.
    Of a response LABEL is what is wanted; of a document it is what is to be avoided, and P(LABEL) its misalignment.
    It reads the response, the pair (prompt, response), or prompt and response as one text.  A classifier of one label,
    or of labels that do not exclude each other, gives σ of the label's logit; any other the softmax.
    """
    folder, label, parts = _split_spec(spec)
    model, config = load_classifier(folder, device)
    index, negated = _label(folder, config, label)

    def function(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        joined = [p + r for p, r in zip(prompts, responses, strict=True)]
        reads = {"response": (responses, None), "pair": (prompts, responses), "joined": (joined, None)}
        found = probabilities(model(*reads[parts]), config)[:, index]
        return 1 - found if negated else found

    judged, about = saying_something(function), f"P({label or config.id2label[index]}) by {folder}"

    def document(texts: Sequence[str]) -> list[tuple[float, list[Span]]]:
        return [(score, []) for score in judged([""] * len(texts), texts)]

    return Scorer("classifier", judged, False, None, about, note=model.note, document=document)


def _split_spec(spec: str) -> tuple[str, str, Parts]:
    """Folder, label (empty for the last) and what is read."""
    if ":" not in spec:
        return spec, "", "response"
    pieces = spec.rsplit(":", 2)
    if len(pieces) < 3 or pieces[2] not in get_args(Parts):
        pieces = [*spec.rpartition(":")[::2], "response"]
    folder, label, parts = pieces
    if not folder or not label:
        raise UserError(f"classifier:{spec} does not name a label; write classifier:FOLDER:LABEL")
    return folder, label, cast(Parts, parts)


def _label(folder: str, config: Any, label: str) -> tuple[int, bool]:
    """The label's number, and whether its opposite is asked for."""
    if not label:
        return config.num_labels - 1, False
    numbers = {str(name): int(number) for number, name in config.id2label.items()}
    numbers |= {str(number): number for number in range(config.num_labels) if str(number) not in numbers}
    if label in numbers:
        return numbers[label], False
    if label.removeprefix("not-") in numbers:
        return numbers[label.removeprefix("not-")], True
    raise UserError(f"{folder} has no label {label!r}; it has {', '.join(map(str, config.id2label.values()))}")


def _check_labels(folder: str, config: Any, wanted: int) -> None:
    if config.num_labels != wanted:
        labels = "1 label" if config.num_labels == 1 else f"{config.num_labels} labels"
        raise UserError(f"{folder} is a classifier of {labels}, not of {wanted}")


def dialogue_scorer(
    name: str, model: TextModel, function: Callable[[Sequence[str], Sequence[str]], np.ndarray], about: str
) -> Scorer:
    """A scorer of dialogues by a model: examples are read with the ends of their turns."""
    judged = saying_something(function)
    return Scorer(
        name, judged, False, None, about, lambda examples: judged(*texts_of(examples, dialogue_text)), model.note
    )


def saying_something(function: Callable[[Sequence[str], Sequence[str]], np.ndarray]) -> ScoreFunction:
    """`function` asked about the responses that say something; the others count `WORST`."""

    def judged(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        scores = np.full(len(responses), WORST)
        rows = [i for i, response in enumerate(responses) if bare(response).strip()]
        if rows:
            scores[rows] = function([prompts[i] for i in rows], [responses[i] for i in rows])
        return scores.tolist()

    return judged


def probabilities(logits: np.ndarray, config: Any) -> np.ndarray:
    """Of each label: σ of its logit for one label, or labels that do not exclude each other, else the softmax."""
    independent = config.num_labels == 1 or config.problem_type == "multi_label_classification"
    return sigmoid(logits) if independent else softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))
