from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from heedful.scorers import get, text_model
from heedful.scorers.documents import Judgement, judge_documents
from heedful.types import Example, Message, Response, UserError
from tests.scorers.tiny import LONG, logits, save_classifier, save_with_head

END = "<|endoftext|>"
PROMPTS = [f"How are you?{END}", f"Knowledge: A fox is red.{END}What is red?{END}A rose.{END}What else?{END}", "Why"]
RESPONSES = ["Well, thank you very much indeed.", "A fox.", f"So it is.{END}"]
NAMES = ("cola_fluency", "dialogrpt_depth", "dialogrpt_updown", "toxichat", "faith_critic")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders by scorer, each with its plain model."""
    root: Path = tmp_path_factory.mktemp("classifiers")
    cola, ranker = save_classifier(root / "cola", "roberta", 2), save_classifier(root / "rank", "gpt2", 1)
    toxic = save_with_head(root / "toxic", "gpt2", "transformer", "off_classifier", 2)
    ranking = (root / "rank", ranker)
    return {
        "cola_fluency": (root / "cola", cola),
        "faith_critic": (root / "cola", cola),
        "dialogrpt_depth": ranking,
        "dialogrpt_updown": ranking,
        "toxichat": (root / "toxic", toxic),
    }


def scorer(made, name: str):
    return get(f"{name}:{made[name][0]}")


def prompts_of(name: str) -> list[str]:
    return [f"Knowledge: {p}" for p in PROMPTS] if name == "faith_critic" else PROMPTS


def test_fluency_is_the_probability_of_label_1_of_the_response_alone(made):
    folder, plain = made["cola_fluency"]
    wanted = [float(logits(plain, folder, r.removesuffix(END)).softmax(-1)[1]) for r in RESPONSES]
    assert scorer(made, "cola_fluency")(PROMPTS, RESPONSES) == pytest.approx(wanted, abs=1e-6)
    assert len({round(value, 4) for value in wanted}) == 3


@pytest.mark.parametrize("name", ["dialogrpt_depth", "dialogrpt_updown"])
def test_dialogrpt_is_the_sigmoid_at_the_last_token_of_turns_and_response(made, name):
    folder, plain = made[name]
    eos = "<|end|>"  # of the tiny tokenizer
    texts = [
        f"How are you?{eos}Well, thank you very much indeed.",
        f"What is red?{eos}A rose.{eos}What else?{eos}A fox.",  # without its knowledge
        f"Why{eos}So it is.",
    ]
    wanted = [float(logits(plain, folder, text).sigmoid()) for text in texts]
    assert scorer(made, name)(PROMPTS, RESPONSES) == pytest.approx(wanted, abs=1e-6)


def test_toxichat_is_the_probability_of_class_0_at_the_responses_end(made):
    folder, plain = made["toxichat"]
    eos = "<|end|>"
    texts = [
        f"How are you?{eos}Well, thank you very much indeed.{eos}",
        f"Knowledge: A fox is red.{eos}What is red?{eos}A rose.{eos}What else?{eos}A fox.{eos}",
        f"Why{eos}So it is.{eos}",
    ]
    wanted = [float(logits(plain, folder, text).softmax(-1)[0]) for text in texts]
    assert scorer(made, "toxichat")(PROMPTS, RESPONSES) == pytest.approx(wanted, abs=1e-6)


def test_the_faith_critic_reads_knowledge_and_response(made):
    folder, plain = made["faith_critic"]
    wanted = float(logits(plain, folder, " A fox is red.", "A fox.").softmax(-1)[0])
    assert scorer(made, "faith_critic")([PROMPTS[1]], ["A fox."]) == [pytest.approx(wanted, abs=1e-6)]
    with pytest.raises(UserError, match="does not begin with 'Knowledge"):
        scorer(made, "faith_critic")([PROMPTS[0]], ["A fox."])


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_its_texts_own_whatever_stands_beside_it(made, name, monkeypatch):
    judge, prompts = scorer(made, name), prompts_of(name)
    together = judge(prompts, RESPONSES)
    assert judge(prompts, RESPONSES) == together
    assert judge(prompts[::-1], RESPONSES[::-1])[::-1] == pytest.approx(together, abs=1e-6)
    assert [judge([p], [r])[0] for p, r in zip(prompts, RESPONSES, strict=True)] == pytest.approx(together, abs=1e-6)
    monkeypatch.setattr(text_model, "TOKENS_PER_BATCH", 8)
    assert judge(prompts, RESPONSES) == pytest.approx(together, abs=1e-6)
    assert judge([], []) == []


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_never_the_best(made, name):
    judge, prompts = scorer(made, name), prompts_of(name)
    assert judge(prompts, ["", f" {END}", "A fox."])[:2] == [0, 0]
    assert judge(prompts[:1], [" "]) == [0]
    assert min(judge(prompts, RESPONSES)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_turns_are_told_apart_in_examples(made, name):
    """A prompt of messages is read as the published text of it."""
    prompt = [
        Message("system", "Knowledge: A fox is red."),
        Message("user", "What is red?"),
        Message("assistant", "A rose."),
        Message("user", "What else?"),
    ]
    example = Example(prompt, [Response([Message("assistant", r)]) for r in ("A fox.", "No.")])
    judge = scorer(made, name)
    assert judge.examples([example, example])[1] == pytest.approx(judge([PROMPTS[1]] * 2, ["A fox.", "No."]), abs=1e-6)


def test_a_long_text_loses_its_end_for_an_encoder_and_its_beginning_for_a_decoder(made):
    """Of 510 positions of the tiny RoBERTa (512 less two that it leaves out) two are the frame's."""
    from transformers import AutoTokenizer

    for name, inside in (("cola_fluency", lambda ids: [0, *ids[:508], 0]), ("toxichat", lambda ids: [*ids[-511:], 0])):
        folder, plain = made[name]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        judge = scorer(made, name)
        assert judge.note() == ""
        [short, long] = judge(["", ""], ["A fox.", LONG])
        assert judge.note().startswith("1 of 2 texts were longer than ")
        ids = torch.tensor([inside(tokenizer(LONG, add_special_tokens=False)["input_ids"])])
        with torch.no_grad():
            found = plain(ids)
        found = found if name == "toxichat" else found.logits
        assert long == pytest.approx(float(found[0].softmax(-1)[int(name == "cola_fluency")]), abs=1e-6)
        assert short == pytest.approx(judge([""], ["A fox."])[0], abs=1e-6)


# ---- any classifier


@pytest.fixture(scope="module")
def moods(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("moods") / "model"
    return folder, save_classifier(folder, "bert", 3, id2label={0: "sad", 1: "calm", 2: "glad"})


def test_any_classifier_by_its_labels_name_number_or_opposite(moods):
    folder, plain = moods
    wanted = logits(plain, folder, "A fox.").softmax(-1)
    for label, value in (("glad", wanted[2]), ("1", wanted[1]), ("not-sad", 1 - wanted[0])):
        assert get(f"classifier:{folder}:{label}")(["Well?"], ["A fox."]) == [pytest.approx(float(value), abs=1e-6)]
    with pytest.raises(UserError, match="has no label 'gald'; it has sad, calm, glad"):
        get(f"classifier:{folder}:gald")
    with pytest.raises(UserError, match=r"glad: no such folder.*classifier:FOLDER:LABEL"):
        get("classifier:glad")
    with pytest.raises(UserError, match="write classifier:FOLDER:LABEL"):
        get("classifier::glad")


def test_a_label_is_wanted_of_responses_and_to_be_avoided_of_documents(moods):
    folder, plain = moods
    wanted = float(logits(plain, folder, "A fox.").softmax(-1)[2])
    last = get(f"classifier:{folder}")  # of the last label, glad
    assert last([""], ["A fox."]) == [pytest.approx(wanted, abs=1e-6)]
    assert last.reward(0.5) == 0.5
    assert judge_documents(last, ["A fox."]) == [Judgement(pytest.approx(wanted, abs=1e-6), [])]
    # In lines: the mean of 0 for the blank one and of the other.
    [found] = judge_documents(last, ["\nA fox."], "lines")
    assert isinstance(found, Judgement)
    assert found.score == pytest.approx(wanted / 2, abs=1e-6)


class FakeDetoxify:
    """Its words and methods as of detoxify 0.5: a text's toxicity is a tenth of its words."""

    asked: ClassVar[list[list[str]]] = []

    def __init__(self, name: str, device: str) -> None:
        self.asked.clear()

    def tokenizer(self, texts: list[str], truncation: bool) -> dict[str, list[list[int]]]:
        assert truncation
        return {"input_ids": [[0] * (len(text.split()) + 2) for text in texts]}

    def predict(self, texts: list[str]) -> dict[str, list[float]]:
        self.asked.append(texts)
        return {"toxicity": [len(text.split()) / 10 for text in texts]}


class TestToxicity:
    def test_a_folder_with_such_a_label_scores_each_sentence(self, tmp_path):
        labels = {0: "obscene", 1: "Toxic", 2: "threat"}
        plain = save_classifier(
            tmp_path / "m", "roberta", 3, id2label=labels, problem_type="multi_label_classification"
        )
        [found] = judge_documents(get(f"toxicity:{tmp_path / 'm'}"), ["A fox. So it is."])
        one, two = (float(logits(plain, tmp_path / "m", text).sigmoid()[1]) for text in ("A fox. ", "So it is."))
        assert isinstance(found, Judgement)
        assert [(span.start, span.end) for span in found.spans] == [(0, 7), (7, 16)]
        assert [span.score for span in found.spans] == pytest.approx([one, two], abs=1e-6)
        assert found.score == pytest.approx((one + two) / 2, abs=1e-6)

    def test_detoxify_is_asked_in_batches_of_like_length(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "detoxify", SimpleNamespace(Detoxify=FakeDetoxify))
        monkeypatch.setattr(text_model, "TOKENS_PER_BATCH", 8)
        texts = ["a b c", "d", "", "e f g h i", "j k"]
        # Framed by two tokens each they have 2, 3, 4, 5 and 7: of three the longest would have 4, 12 with the padding;
        # of the two behind the first two it would have 5, which are 10.
        assert get("toxicity:original")([""] * 5, texts) == [0.3, 0.1, 0.0, 0.5, 0.2]
        assert FakeDetoxify.asked == [["", "d"], ["j k"], ["a b c"], ["e f g h i"]]
        assert get("toxicity:original")([], []) == []

    def test_a_folder_without_one_is_refused(self, moods):
        with pytest.raises(UserError, match="no label toxicity or toxic, it has sad, calm, glad"):
            get(f"toxicity:{moods[0]}")


def test_any_classifier_reads_the_parts_it_is_told_to(moods):
    from transformers import AutoTokenizer

    folder, plain = moods
    joined = logits(plain, folder, "Well? A fox.").softmax(-1)[2]
    assert get(f"classifier:{folder}:glad:joined")(["Well?"], [" A fox."]) == [pytest.approx(float(joined), abs=1e-6)]
    rows = AutoTokenizer.from_pretrained(folder)("Well?", "A fox.", return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        wanted = plain(**rows).logits[0].softmax(-1)[2]
    found = get(f"classifier:{folder}:glad:pair")(["Well?", "And so it is that we wait?"], ["A fox.", "No."])
    assert found[0] == pytest.approx(float(wanted), abs=1e-6)


def test_labels_that_do_not_exclude_each_other_are_judged_one_by_one(tmp_path):
    plain = save_classifier(tmp_path / "m", "roberta", 2, problem_type="multi_label_classification")
    wanted = float(logits(plain, tmp_path / "m", "A fox.").sigmoid()[1])
    assert get(f"classifier:{tmp_path / 'm'}:1")([""], ["A fox."]) == [pytest.approx(wanted, abs=1e-6)]


def test_a_classifier_of_another_kind_is_refused(made, tmp_path):
    with pytest.raises(UserError, match="of 2 labels, not of 1"):
        get(f"dialogrpt_depth:{made['cola_fluency'][0]}")
    with pytest.raises(UserError, match=r"hold no off_classifier\.weight"):
        get(f"toxichat:{made['dialogrpt_depth'][0]}")
    with pytest.raises(UserError, match="is a roberta"):
        get(f"toxichat:{made['cola_fluency'][0]}")
    save_with_head(tmp_path / "bare", "gpt2", "transformer", "off_classifier", 2, num_labels=1)
    with pytest.raises(UserError, match=r"not those of a GPT2ForSequenceClassification: score\.weight is missing"):
        get(f"dialogrpt_depth:{tmp_path / 'bare'}")
