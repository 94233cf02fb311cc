from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples.shape import Dropped
from heedful.tokens.builtin import BUILTIN, source_of
from heedful.tokens.control import CONTROL, add_tokens, attach_controls, split_control, with_control
from heedful.tokens.show import coloured
from heedful.tokens.templates import Template
from heedful.types import Example, Response, UserError
from tests.tokens.test_templates import OWN, SPECIALS, answer, one, user, verbatim
from tests.tokens.tokenizers import STYLES, make

GOOD, BAD = "<|good|>", "<|bad|>"
words = st.text(alphabet="ab1 .:\n\t(é你)'\"-", max_size=12)


def conditioned(kind: str, style: str = "gpt2", control: str | None = GOOD) -> Template:
    tokenizer = copy.deepcopy(make(style, specials=SPECIALS))
    add_tokens(tokenizer, [GOOD, BAD])
    source = OWN[kind] if kind in OWN else source_of(tokenizer, kind, adds_bos=False)[1]
    return Template(tokenizer, kind, source, control)


def judged(prompt, *answers, good=0) -> Example:
    responses = [Response([message], desirable=k == good) for k, message in enumerate(answers)]
    return attach_controls([Example(list(prompt), responses)], GOOD, BAD).examples[0]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([*BUILTIN, *OWN]),
    style=st.sampled_from(STYLES),
    said=words,
    answers=st.lists(words, min_size=1, max_size=3),
)
def test_a_control_token_ends_the_prompt_and_is_not_trained(kind, style, said, answers):
    t = conditioned(kind, style)
    prompt = [user(said)]
    [item] = t.encode([judged(prompt, *map(answer, answers))], max_length=10_000)
    assert not isinstance(item, Dropped)
    good, bad = (t.tokenizer.convert_tokens_to_ids(token) for token in (GOOD, BAD))
    # What a sampler reads is what training read, up to the first trained token.
    assert t.encode_prompt(prompt) == [*item.prompt_ids, good]
    for k, (text, response) in enumerate(zip(answers, item.responses, strict=True)):
        assert response.ids[0] == (good if k == 0 else bad)
        assert not response.trained[0]
        assert response.trained[1:].all()
        # Text never merges with a special token: the tokens are those of the whole text, control token included.
        whole = t.render([*prompt, answer(text)])
        start = len(t.prompt_text(prompt))
        spelled = whole[:start] + (GOOD if k == 0 else BAD) + whole[start:]
        ids = [*item.prompt_ids.tolist(), *response.ids.tolist()]
        assert t.vocabulary.encode([spelled])[0][: len(ids) - 1] == ids[:-1]
        if kind not in ("llama3", "forced") and style != "metaspace":
            assert t.decode_response(response.ids.tolist()[1:], prompt) == text
            assert t.decode_response(response.ids.tolist()[1:]) == text


@pytest.mark.parametrize("kind", sorted({*BUILTIN, "llama3", "mistral"}))
def test_plain_transformers_samples_behind_the_good_token(kind):
    t = conditioned(kind)
    t.tokenizer.chat_template = t.chat_template
    rendered = t.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi there."}], add_generation_prompt=True, tokenize=False
    )
    assert rendered.endswith(GOOD)
    assert t.vocabulary.encode([rendered])[0] == t.encode_prompt([user("Hi there.")])
    # Whoever loads the saved tokenizer is conditioned too, and may ask for something else.
    assert Template.load(t.tokenizer).control == GOOD
    assert Template.load(t.tokenizer).source == t.source.removesuffix("\n")
    bad = Template.load(t.tokenizer, control=BAD).encode_prompt([user("Hi there.")])
    assert bad == [*t.encode_prompt([user("Hi there.")])[:-1], t.tokenizer.convert_tokens_to_ids(BAD)]
    assert Template.load(t.tokenizer, control="").control_ids == ()


def test_truncation_never_drops_the_control_token():
    t = conditioned("chatml")
    turns = [user("first one"), answer("b"), user("second"), answer("d"), user("third")]
    full = len(t.encode_prompt(turns))
    for limit in (full, full - 1):
        [item] = t.encode([judged(turns, answer("e"), answer("f"))], max_length=1000, max_prompt_length=limit)
        assert [*item.prompt_ids, item.responses[0].ids[0]] == t.encode_prompt(turns, max_prompt_length=limit)
        assert len(item.prompt_ids) + 1 <= limit
    [cut] = t.encode([judged([verbatim("a 1 " * 40)], verbatim("b"))], max_length=20, max_prompt_length=12)
    assert len(cut.prompt_ids) == 11
    assert cut.responses[0].ids[0] == t.control_ids[0]
    assert t.encode_prompt([verbatim("a 1 " * 40)], max_prompt_length=12) == [*cut.prompt_ids, *t.control_ids]


def test_every_chunk_of_a_document_has_its_control_token():
    t = conditioned("plain")
    chunks = t.encode([judged([], verbatim("a 1 b " * 30), good=1)], max_length=20)
    bad = t.tokenizer.convert_tokens_to_ids(BAD)
    assert len(chunks) > 3
    assert all(c.responses[0].ids[0] == bad and not c.responses[0].trained[0] and c.longest <= 20 for c in chunks)
    text = t.vocabulary.decode(np.concatenate([c.responses[0].ids[1:] for c in chunks]))
    assert text.startswith("a 1 b " * 30)


def test_turns_that_are_not_trained_stay_so_behind_a_control_token():
    t = conditioned("chatml")
    turns = [answer("first"), user("more?"), answer("second", trained=True)]
    example = attach_controls([Example([user("hi")], [Response(turns, desirable=True)])], GOOD, BAD).examples[0]
    item = one(t.encode([example], train_on="all_assistant", max_length=1000))
    response = item.responses[0]
    trained = t.vocabulary.decode(response.ids[response.trained])
    assert trained == "first<|im_end|>\nsecond<|im_end|>"  # the header's newline rides with a later answer


def test_a_template_with_a_control_token_conditions_data_that_names_none():
    t = conditioned("chatml")
    item = one(t.encode([Example([user("hi")], [Response([answer("b")])])], max_length=100))
    assert item.responses[0].ids[0] == t.control_ids[0]


@given(token=st.text(alphabet="<|>good'\"{}% é\\", min_size=1, max_size=12), source=words)
def test_what_is_written_into_a_template_is_read_from_it(token, source):
    assert split_control(with_control(source, token)) == (source.removesuffix("\n"), token)
    assert split_control(with_control(source, None)) == (source, None)


def test_the_colours_show_it():
    t = conditioned("chatml")
    texts = coloured(one(t.encode([judged([user("hi")], answer("b"), answer("c"))], max_length=100)), t)
    assert [text.plain.partition("┃")[2][: len(token)] for text, token in zip(texts, (GOOD, BAD), strict=True)] == [
        GOOD,
        BAD,
    ]
    styles = [
        str(span.style) for text in texts for span in text.spans if text.plain[span.start : span.end] in (GOOD, BAD)
    ]
    assert styles == ["magenta", "magenta"]


def test_words_are_no_control_tokens():
    tokenizer = copy.deepcopy(make("gpt2"))
    ordinary = next(token for token in tokenizer.get_vocab() if token.isalpha())
    with pytest.raises(UserError, match="is an ordinary token"):
        add_tokens(tokenizer, [ordinary])
    with pytest.raises(UserError, match=r"<\|good\|> is no special token of the tokenizer; it has .*</s>"):
        Template.load(tokenizer, "chatml", control=GOOD)
    spelled = tokenizer(GOOD, add_special_tokens=False)["input_ids"]
    assert list(add_tokens(tokenizer, [GOOD]).values()) == [spelled]
    assert add_tokens(tokenizer, [GOOD]) == {}
    assert CONTROL == "control"
