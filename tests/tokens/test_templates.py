from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.examples.shape import Dropped
from heedful.tokens.builtin import BUILTIN, from_strings
from heedful.tokens.encoded import EncodedExample
from heedful.tokens.templates import Template
from heedful.types import TEXT, Example, Message, Response, UserError
from tests.tokens.tokenizers import STYLES, make

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|h|>' + m['role'] + '<|/h|>\\n\\n' + (m['content'] | trim) + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\\n\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles') }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FORCED_THOUGHT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)
HEADERLESS = {"human_prefix": "", "human_suffix": "", "assistant_prefix": "", "assistant_suffix": ""}
OWN = {"llama3": LLAMA3, "mistral": MISTRAL, "thinking": THINKING, "forced": FORCED_THOUGHT}
SPECIALS = (*CHATML_TOKENS, "<|h|>", "<|/h|>", "<|eot|>")


def template(kind, style="gpt2", *, specials=SPECIALS, adds_bos=False):
    tokenizer = make(style, specials=specials, adds_bos=adds_bos)
    if isinstance(kind, dict) or kind in BUILTIN:
        return Template.load(tokenizer, kind)
    return Template(tokenizer, kind, OWN[kind])


def user(text):
    return Message("user", text)


def answer(text, trained=True):
    return Message("assistant", text, trained)


def verbatim(text):
    return Message(TEXT, text)


def example(prompt, *responses):
    return Example(list(prompt), [Response(list(r) if isinstance(r, (list, tuple)) else [r]) for r in responses])


def one(result) -> EncodedExample:
    assert len(result) == 1
    assert isinstance(result[0], EncodedExample), result[0]
    return result[0]


# --- the laws ---------------------------------------------------------------------------------------------------------

words = st.text(alphabet="ab1 .:\n\t(é你)'\"-", max_size=12)
kinds = st.sampled_from([*BUILTIN, *OWN, "headerless"])


@settings(max_examples=120, deadline=None)
@given(
    kind=kinds,
    style=st.sampled_from(STYLES),
    adds_bos=st.booleans(),
    turns=st.lists(words, min_size=1, max_size=3).filter(lambda t: len(t) % 2 == 1),
    answers=st.lists(words, min_size=1, max_size=3),
)
def test_boundary_and_decoding_laws_of_chats(kind, style, adds_bos, turns, answers):
    t = template(HEADERLESS if kind == "headerless" else kind, style, adds_bos=adds_bos)
    prompt = [user(text) if i % 2 == 0 else answer(text) for i, text in enumerate(turns)]
    [result] = t.encode([example(prompt, *map(answer, answers))], max_length=10_000)
    if isinstance(result, Dropped):  # a tokenizer may be unable to spell an answer apart; it says so
        assert "cannot part" in result.reason
        assert style == "metaspace"
        return
    head = result.prompt_ids.tolist()
    assert head == t.encode_prompt(prompt)
    for text, response in zip(answers, result.responses, strict=True):
        ids = response.ids.tolist()
        assert ids[-1] in t.stop_ids
        assert response.trained.all()
        rendered = t.render([*prompt, answer(text)])
        expected = t.vocabulary.decode(t.vocabulary.encode([rendered])[0])
        end = t.vocabulary.token(ids[-1])
        expected = expected + end if t.anatomy.end_id is None else expected[: expected.rfind(end) + len(end)]
        whole = t.vocabulary.decode([*head, *ids])
        if head == [t.vocabulary.start_id]:  # stands for an empty prompt, which no rendering spells
            whole, expected = whole.removeprefix("<s>"), expected.removeprefix("<s>")
        assert whole.lstrip(" ") == expected.lstrip(" ")
        if kind not in ("llama3", "forced"):  # the one trims, the other's answers begin where a thought should
            assert t.decode_response(ids, prompt) == text or style == "metaspace"
            assert kind == "headerless" or t.decode_response(ids) == t.decode_response(ids, prompt)


@settings(max_examples=100, deadline=None)
@given(style=st.sampled_from(STYLES), adds_bos=st.booleans(), prompt=words, completions=st.lists(words, min_size=1))
def test_boundary_and_decoding_laws_of_verbatim_text(style, adds_bos, prompt, completions):
    t = template("plain", style, adds_bos=adds_bos)
    [result] = t.encode([example([verbatim(prompt)], *map(verbatim, completions))], max_length=10_000)
    if isinstance(result, Dropped):
        assert "cannot part" in result.reason
        assert style == "metaspace"
        return
    head = result.prompt_ids.tolist()
    assert head == t.encode_prompt([verbatim(prompt)])
    for text, response in zip(completions, result.responses, strict=True):
        assert response.ids[-1] == t.eos_id
        if style != "metaspace":
            whole = t.vocabulary.decode([*head, *response.ids]).removeprefix("<s>").removesuffix("</s>")
            assert whole.removesuffix("</s>").removeprefix("<s>") == prompt + text
            assert t.decode_response(response.ids, [verbatim(prompt)]) == text


@settings(max_examples=40, deadline=None)
@given(kind=kinds, style=st.sampled_from(STYLES), prompt=words, answers=st.lists(words, min_size=2, max_size=4))
def test_a_response_does_not_depend_on_the_others(kind, style, prompt, answers):
    t = template(HEADERLESS if kind == "headerless" else kind, style)
    together = t.encode([example([user(prompt)], *map(answer, answers))], max_length=10_000)[0]
    if isinstance(together, Dropped):
        return
    for text, response in zip(answers, together.responses, strict=True):
        alone = one(t.encode([example([user(prompt)], answer(text))], max_length=10_000))
        assert alone.prompt_ids.tolist() == together.prompt_ids.tolist()
        assert alone.responses[0].ids.tolist() == response.ids.tolist()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([*BUILTIN, "llama3", "mistral"]),
    style=st.sampled_from(["gpt2", "llama3", "newline"]),
    texts=st.lists(st.text("ab .\n", min_size=1, max_size=8).filter(str.strip), min_size=4, max_size=6),
)
def test_every_turn_is_trained_as_if_it_were_an_example_of_its_own(kind, style, texts):
    """train_on=all_assistant of one dialogue trains the tokens that train_on=last of each of its prefixes trains."""
    t = template(kind, style)
    if t.anatomy.end_id is None:  # then only a last answer gets an EOS
        return
    texts = [text.strip() for text in texts[: len(texts) // 2 * 2]]
    dialogue = [user(text) if i % 2 == 0 else answer(text) for i, text in enumerate(texts)]
    together = one(t.encode([example([], dialogue)], train_on="all_assistant", max_length=10_000))
    ids = [*together.prompt_ids.tolist(), *together.responses[0].ids.tolist()]
    trained = {len(together.prompt_ids) + j for j in together.responses[0].trained.nonzero()[0]}
    expected = set()
    for end in range(2, len(dialogue) + 1, 2):
        alone = one(t.encode([example(dialogue[: end - 1], dialogue[end - 1])], max_length=10_000))
        if alone.retokenised or together.retokenised:
            return
        start = len(alone.prompt_ids)
        assert ids[: start + len(alone.responses[0].ids)] == [*alone.prompt_ids, *alone.responses[0].ids]
        expected |= set(range(start, start + len(alone.responses[0].ids)))
    assert trained == expected


# --- by hand ----------------------------------------------------------------------------------------------------------


def spelled(t, ids, trained=None):
    return [t.vocabulary.token(int(i)) for n, i in enumerate(ids) if trained is None or trained[n]]


def test_chatml_cuts_the_newline_that_a_blank_answer_would_merge_with():
    t = template("chatml", "llama3")
    result = one(t.encode([example([user("a")], answer("b"), answer("\nb"))], max_length=100))
    assert t.vocabulary.decode(result.prompt_ids) == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant"
    assert spelled(t, result.responses[0].ids) == ["Ċ", "b", "<|im_end|>"]
    assert spelled(t, result.responses[1].ids) == ["ĊĊ", "b", "<|im_end|>"]  # not ["Ċ", "Ċ", …]
    assert t.stop_ids == (t.tokenizer.convert_tokens_to_ids("<|im_end|>"), t.tokenizer.eos_token_id)


def test_a_template_that_strips_answers_needs_no_cut():
    t = template("llama3", "llama3", adds_bos=True)
    result = one(t.encode([example([user("a")], answer("\nb"))], max_length=100))
    assert t.vocabulary.decode(result.prompt_ids) == "<s><|h|>user<|/h|>\n\na<|eot|><|h|>assistant<|/h|>\n\n"
    assert spelled(t, result.responses[0].ids) == ["b", "<|eot|>"]


@pytest.mark.parametrize("kind", ["llama3", "mistral", *BUILTIN])
def test_one_bos_whoever_writes_it(kind):
    t = template(kind, adds_bos=True)
    result = one(t.encode([example([user("a")], answer("b"))], max_length=200))
    assert spelled(t, result.prompt_ids).count("<s>") == 1
    assert spelled(t, result.prompt_ids)[0] == "<s>"


@pytest.mark.parametrize(("adds_bos", "first"), [(True, ["<s>", "a"]), (False, ["a"])])
def test_plain_text_gets_the_bos_that_the_tokenizer_adds(adds_bos, first):
    t = template("plain", adds_bos=adds_bos)
    result = one(t.encode([example([verbatim("a")], verbatim(" b"))], max_length=20))
    assert spelled(t, result.prompt_ids) == first
    spelling_it = one(t.encode([example([verbatim("<s>a")], verbatim(" b"))], max_length=20))
    assert spelled(t, spelling_it.prompt_ids) == ["<s>", "a"]


def test_a_document_begins_with_bos_and_ends_with_eos():
    t = template("plain")
    result = one(t.encode([example([], verbatim("a b"))], max_length=20))
    assert spelled(t, result.prompt_ids) == ["<s>"]
    assert spelled(t, result.responses[0].ids) == ["a", "Ġb", "</s>"]
    assert result.responses[0].trained.all()
    assert t.encode_prompt([]) == result.prompt_ids.tolist()


def test_text_that_spells_eos_does_not_get_two():
    t = template("plain")
    result = one(t.encode([example([verbatim("a")], verbatim(" b</s>"))], max_length=20))
    assert spelled(t, result.responses[0].ids) == ["Ġb", "</s>"]


def test_pad_equal_to_eos_leaves_the_end_trained():
    tokenizer = make("gpt2", specials=SPECIALS)
    t = Template.load(tokenizer, "plain")
    before = one(t.encode([example([user("a")], answer("b"))], max_length=50))
    tokenizer.pad_token = tokenizer.eos_token
    after = one(Template.load(tokenizer, "plain").encode([example([user("a")], answer("b"))], max_length=50))
    tokenizer.pad_token = None
    assert after.responses[0].ids.tolist() == before.responses[0].ids.tolist()
    assert after.responses[0].ids[-1] == tokenizer.eos_token_id
    assert after.responses[0].trained.all()


def test_an_answer_that_would_merge_with_the_prompt_is_tokenised_apart():
    t = template("plain", "llama3")
    merged = t.vocabulary.encode(["def add("])[0]
    prompt = t.encode_prompt([verbatim("def ad")])
    assert merged[: len(prompt)] != prompt  # "add" is one token
    result = one(t.encode([example([verbatim("def ad")], verbatim("d("))], max_length=20))
    assert result.retokenised == 1
    assert result.prompt_ids.tolist() == prompt
    assert t.vocabulary.decode(result.responses[0].ids) == "d(</s>"


@pytest.mark.parametrize(
    ("train_on", "flags", "trained"),
    [
        ("last", (True, True), "Ċ d <|im_end|>"),
        ("all_assistant", (True, True), "Ċ b <|im_end|> Ċ d <|im_end|>"),
        ("all_assistant", (False, True), "Ċ d <|im_end|>"),
        ("all_assistant", (True, False), "Ċ b <|im_end|>"),
    ],
)
def test_masks_of_several_turns(train_on, flags, trained):
    t = template("chatml")
    turns = [user("a"), answer("b", flags[0]), user("c"), answer("d", flags[1])]
    result = one(t.encode([example(turns[:1], turns[1:])], train_on=train_on, max_length=100))
    response = result.responses[0]
    assert spelled(t, response.ids, response.trained) == trained.split()
    whole = [*result.prompt_ids.tolist(), *response.ids.tolist()]
    assert t.vocabulary.decode(whole) == t.render(turns).removesuffix("\n")


def test_several_responses_of_several_turns_share_the_prompt_and_train_the_last():
    t = template("chatml")
    first, second = [answer("b"), user("c"), answer("d")], [answer("e")]
    result = one(t.encode([example([user("a")], first, second)], max_length=100))
    assert spelled(t, result.responses[0].ids, result.responses[0].trained) == ["Ċ", "d", "<|im_end|>"]
    assert spelled(t, result.responses[1].ids, result.responses[1].trained) == ["Ċ", "e", "<|im_end|>"]


def test_messages_after_the_last_answer_are_left_out():
    t = template("chatml")
    with_tail = one(t.encode([example([user("a")], [answer("b"), user("c")])], max_length=100))
    without = one(t.encode([example([user("a")], answer("b"))], max_length=100))
    assert with_tail.responses[0].ids.tolist() == without.responses[0].ids.tolist()


def test_a_template_that_changes_earlier_turns_is_masked_by_search():
    t = template("thinking")  # writes an empty thought into the last answer only
    turns = [user("a"), answer("bb"), user("c"), answer("d")]
    result = one(t.encode([example(turns[:1], turns[1:])], train_on="all_assistant", max_length=200))
    response = result.responses[0]
    run = t.vocabulary.decode([int(i) for i, trained in zip(response.ids, response.trained, strict=True) if trained])
    assert run.startswith("bb<|im_end|>")
    assert run.endswith("d<|im_end|>")
    assert "user" not in run


def test_four_strings():
    strings = {
        "human_prefix": "Q: ",
        "human_suffix": "\n",
        "assistant_prefix": "A'é\\: ",
        "assistant_suffix": "\n",
    }
    t = template(strings)
    assert t.render([user("a"), answer("b"), user("c")], generation_prompt=True) == "Q: a\nA'é\\: b\nQ: c\nA'é\\: "
    result = one(t.encode([example([user("a")], answer("b"))], max_length=100))
    assert t.vocabulary.decode([*result.prompt_ids, *result.responses[0].ids]) == "Q: a\nA'é\\: b</s>"
    with pytest.raises(UserError, match="assistant_suffix"):
        from_strings({name: text for name, text in strings.items() if name != "assistant_suffix"})
    with pytest.raises(UserError, match="human_prefx"):
        from_strings(strings | {"human_prefx": ""})


def test_published_strings():
    t = template("safe-rlhf")
    asked = [user("q"), answer("a1"), user("q2")]
    begin = "BEGINNING OF CONVERSATION: USER: q ASSISTANT:a1</s>USER: q2 ASSISTANT:"
    assert t.render(asked, generation_prompt=True) == begin
    hh = template("hh")
    assert hh.render([user("q"), answer("a"), user("r")], generation_prompt=True) == (
        "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant:"
    )


def test_loading(tmp_path):
    tokenizer = make("gpt2", specials=SPECIALS)
    assert Template.load(tokenizer, None).name == "plain"
    (tmp_path / "mine.jinja").write_text(LLAMA3)
    assert Template.load(tokenizer, str(tmp_path / "mine.jinja")).source == LLAMA3
    own = make("gpt2", specials=(*SPECIALS, "<|own|>"))
    own.chat_template = LLAMA3
    assert Template.load(own, None).name == "tokenizer"
    with pytest.raises(UserError, match="chatml"):
        Template.load(tokenizer, "chatlm")
    (tmp_path / "broken.jinja").write_text("{% for %}")
    with pytest.raises(UserError, match=r"broken\.jinja cannot render"):
        Template.load(tokenizer, str(tmp_path / "broken.jinja"))
    (tmp_path / "deaf.jinja").write_text("{{ messages[-1]['content'] }}")
    with pytest.raises(UserError, match="leaves out what the user said"):
        Template.load(tokenizer, str(tmp_path / "deaf.jinja"))


def test_a_tokenizer_without_eos_is_refused():
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=make("gpt2").backend_tokenizer)
    with pytest.raises(UserError, match="no EOS"):
        Template.load(bare, "hh")


def test_rendering_equals_apply_chat_template_of_a_saved_tokenizer():
    tokenizer = make("llama3", specials=SPECIALS, adds_bos=True)
    for kind in BUILTIN:
        t = Template.load(tokenizer, kind)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}], chat_template=t.source, add_generation_prompt=True, return_dict=False
        )
        prompt = t.encode_prompt([user("a")])
        assert ids[: len(prompt)] == prompt


def test_reasons_for_leaving_examples_out():
    t = template("mistral")
    examples = [
        example([Message("system", "s"), user("a")], answer("b")),
        example([user("a")]),
        example([user("a")], user("b")),
        example([user("a")], verbatim("b")),
        example([user("a")], answer("b", trained=False)),
    ]
    reasons = [dropped.reason for dropped in t.encode(examples, max_length=100) if isinstance(dropped, Dropped)]
    assert len(reasons) == 5
    for reason, words in zip(
        reasons, ["Only user and assistant", "no response", "no assistant turn", "mixes", "no trained"], strict=True
    ):
        assert words in reason
