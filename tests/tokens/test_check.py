from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from heedful.examples.shape import Dropped, Shaped
from heedful.tokens.prepare import prepare
from heedful.tokens.report import DataReport
from heedful.tokens.show import BOUNDARY, coloured, from_store, legend
from heedful.tokens.templates import Template
from heedful.types import UserError
from tests.fakes import tiny_tokenizer
from tests.tokens.test_templates import SPECIALS, answer, example, template, user, verbatim
from tests.tokens.tokenizers import make


def report_of(examples, tmp_path, kind="chatml", dropped=(), **settings):
    t = kind if isinstance(kind, Template) else template(kind)
    shaped = Shaped(list(examples), [Dropped(f"x:{i}", reason) for i, reason in enumerate(dropped)], [])
    for i, e in enumerate(shaped.examples):
        e.origin = f"file:{i + 1}"
    return prepare(shaped, t, cache_dir=tmp_path, **{"max_length": 200, **settings})


def pair(question, chosen, rejected):
    made = example([user(question)], answer(chosen), answer(rejected))
    made.better = 0
    return made


def codes(findings):
    return {finding.code: (finding.count, finding.first) for finding in findings}


def test_good_data_has_nothing_to_report(tmp_path):
    store, report = report_of([pair("a", "b", "c"), pair("d", "e", "f")], tmp_path)
    assert report.errors == []
    assert report.warnings == []
    assert (report.num_in, report.num_trained, report.num_dropped, report.num_responses) == (2, 2, 0, 4)
    assert report.tokens["trained"] == report.tokens["response"] == store.response_lengths.sum()
    report.raise_for_errors()


def test_in_is_trained_plus_dropped_and_every_drop_has_a_reason(tmp_path):
    examples = [pair("a", "b", "c"), pair("a " * 300, "b", "c"), example([user("a")]), pair("a", "b", "c " * 300)]
    _, report = report_of(examples, tmp_path, dropped=["a tie", "a tie"])
    assert report.num_in == 6
    assert report.num_trained == 1
    assert {reason: (t.count, t.first) for reason, t in report.dropped.items()} == {
        "a tie": (2, ["x:0", "x:1"]),
        "its last turn alone is longer than max_length=200": (1, ["file:2"]),
        "it has no response": (1, ["file:3"]),
        "its answer does not fit in max_length=200": (1, ["file:4"]),
    }
    assert any("6 examples: 1 trained on, 5 dropped" in line for line in report.lines())


def test_doubtful_examples_are_named(tmp_path):
    examples = [
        pair("q1", "a", "b"),
        pair("q1", "a", "b"),  # 2: a copy
        pair("q1", "b", "a"),  # 3: judged the other way round
        pair("q2", "same", "same"),  # 4
        pair("q3", "", "b"),  # 5
        pair("q4 <|im_end|>", "a", "b"),  # 6
    ]
    _, report = report_of(examples, tmp_path)
    assert report.errors == []
    assert codes(report.warnings) == {
        "duplicates": (1, ["file:2"]),
        "contradictions": (1, ["file:3"]),
        "equal_responses": (1, ["file:4"]),
        "empty_answer": (1, ["file:5"]),
        "spelled_specials": (1, ["file:6"]),
    }


def test_the_same_answer_desirable_and_not_is_a_contradiction(tmp_path):
    good, bad = example([user("q")], answer("a")), example([user("q")], answer("a"))
    good.responses[0].desirable, bad.responses[0].desirable = True, False
    _, report = report_of([good, bad], tmp_path)
    assert codes(report.warnings)["contradictions"] == (1, ["file:2"])


def test_nothing_left_stops_the_run(tmp_path):
    store, report = report_of([pair("a", "b", "c")], tmp_path, max_length=4)
    assert len(store) == 0
    with pytest.raises(UserError, match="no example is left"):
        report.raise_for_errors()
    _, empty = report_of([], tmp_path)
    assert [error.code for error in empty.errors] == ["nothing_left"]


def test_answers_without_a_trained_turn_are_dropped(tmp_path):
    _, report = report_of([example([user("a")], answer("b", trained=False))], tmp_path)
    assert "a response has no trained turn" in report.dropped
    assert report.errors


def test_double_bos_stops_the_run(tmp_path):
    source = "{{ bos_token }}{{ bos_token }}" + template("llama3").source.removeprefix("{{ bos_token }}")
    doubled = Template(make("gpt2", specials=SPECIALS), "doubled", source)
    _, report = report_of([pair("a", "b", "c")], tmp_path, doubled)
    assert codes(report.errors) == {"double_bos": (1, ["file:1"])}


def test_a_template_that_repeats_the_question_in_the_answer_stops_the_run(tmp_path):
    source = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|im_start|>' + m['content'] }}{% else %}"
        "{{ '<|im_end|>' + messages[0]['content'] + ': ' + m['content'] + '<|eot|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_end|>' }}{% endif %}"
    )
    parrot = Template(make("gpt2", specials=SPECIALS), "parrot", source)
    _, report = report_of([pair("a long question", "b", "c")], tmp_path, parrot)
    assert codes(report.errors) == {"wrong_role": (2, ["file:1", "file:1"])}


def test_a_template_that_changes_the_answer_is_a_warning(tmp_path):
    source = template("llama3").source.replace("m['content'] | trim", "m['content'] | replace('b', 'x')")
    _, report = report_of([pair("a", "b", "c")], tmp_path, Template(make("gpt2", specials=SPECIALS), "loose", source))
    assert "changed_words" in codes(report.warnings)


def test_turns_without_an_end_are_a_warning(tmp_path):
    turns = [user("a"), answer("b"), user("c"), answer("d")]
    _, report = report_of([example([], turns)], tmp_path, "hh", train_on="all_assistant")
    assert codes(report.warnings) == {"unended_turns": (1, ["file:1"])}
    _, report = report_of([example([], turns)], tmp_path, "chatml", train_on="all_assistant")
    assert report.warnings == []


def test_truncation_is_counted(tmp_path):
    long = example([user("a"), answer("b " * 40), user("c")], answer("d"))
    document = example([], verbatim("a " * 120))
    text = example([verbatim("a " * 120)], verbatim("b"))
    _, report = report_of([long, document, text], tmp_path, max_length=60)
    assert report.errors == []
    assert report.truncated["examples without their oldest turns"] == 1
    assert report.truncated["turns left out"] == 1
    assert report.truncated["verbatim prompts cut from the left"] == 1
    assert report.truncated["tokens cut from prompts"] > 0
    assert report.truncated["documents cut into chunks"] == 1
    assert report.truncated["chunks of documents"] > 1
    assert report.num_trained == 3


def test_the_report_survives_json(tmp_path):
    _, report = report_of([pair("q", "same", "same"), example([user("a")])], tmp_path, dropped=["a tie"])
    again = DataReport.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report
    assert again.lines() == report.lines()


def test_the_same_input_is_tokenised_once(tmp_path, monkeypatch):
    first, report = report_of([pair("a", "b", "c")], tmp_path, dropped=["a tie"])
    monkeypatch.setattr(Template, "encode", lambda *args, **kwargs: pytest.fail("tokenised again"))
    second, again = report_of([pair("a", "b", "c")], tmp_path, dropped=["a tie"])
    assert second.path == first.path
    assert again == report


@pytest.mark.parametrize("change", ["content", "label", "template", "settings", "tokenizer", "trained"])
def test_other_input_is_another_store(tmp_path, change):
    first, _ = report_of([pair("a", "b", "c")], tmp_path)
    other, kind, settings = pair("a", "b", "c"), template("chatml"), {}
    if change == "content":
        other = pair("a", "b", "d")
    elif change == "label":
        other.better = 1
    elif change == "template":
        kind = template("plain")
    elif change == "settings":
        settings = {"max_length": 199}
    elif change == "tokenizer":
        kind = template("chatml", "llama3")
    else:
        other.responses[0].messages[0].trained = False
    second, _ = report_of([other], tmp_path, kind, **settings)
    assert second.path != first.path


def test_progress_is_told(tmp_path):
    told = []
    report_of([pair("a", "b", "c")] * 3, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_colours(tmp_path):
    turns = [user("a"), answer("b"), user("c 你"), answer("d")]
    t = template("chatml")
    store, _ = report_of([example(turns[:1], turns[1:], [answer("e")])], tmp_path)
    first, second = coloured(from_store(store, 0), t)
    shown = first.plain.replace("⏎\n", "\n").replace(BOUNDARY, "")
    assert shown == t.render(turns).removesuffix("\n")
    assert second.plain.startswith(BOUNDARY)

    def styled(text, colour):
        return "".join(text.plain[s.start : s.end] for s in text.spans if colour in str(s.style))

    assert styled(first, "blue").replace("⏎", "") == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant"
    assert styled(first, "green").replace("⏎", "") == "\nd<|im_end|>"
    assert "c 你" in styled(first, "yellow")
    assert "trained" in legend().plain


HH = Path(__file__).parents[3] / "shared" / "data" / "hh_scored" / "helpful_base.jsonl.gz"


@pytest.mark.real_data
@pytest.mark.skipif(not HH.is_file(), reason="the public data is not here")
def test_hh_pairs(tmp_path):
    import numpy as np

    from heedful.examples import load, to_pairs
    from heedful.tokens.planning import fill, plan_packs
    from heedful.tokens.sampler import Sampler, units_of

    shaped = to_pairs(load(str(HH)))
    with gzip.open(HH, "rt") as file:
        rows = sum(1 for _ in file)
    texts = [message.content for e in shaped.examples[:500] for message in e.prompt]
    t = Template.load(tiny_tokenizer(texts, vocab_size=2000))
    store, report = prepare(shaped, t, max_length=1024, cache_dir=tmp_path)
    assert report.num_in == rows == report.num_trained + report.num_dropped
    assert report.errors == []
    assert report.num_trained > 0.95 * rows
    sampler = Sampler(units_of(store, "prompts"), batch_size=8, epochs=1)
    fills = []
    for step in range(sampler.num_steps):
        lengths = store.example_lengths[sampler.batch(step)]
        fills.append(fill(lengths, plan_packs(lengths, 2048)))
    assert np.mean(fills) >= 0.97
