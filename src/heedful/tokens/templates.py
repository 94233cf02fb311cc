"""Chat templates: conversations to tokens and back, the only place that knows how.

Laws: the tokens of a prompt are the same in training and in sampling; prompt tokens and response tokens decode to the
rendered conversation; a response ends with EOS or the template's end of turn, and nothing after it.  A control token
stands between the two: the last of the prompt in sampling, the first of the response, untrained, in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heedful.examples.shape import Dropped
from heedful.tokens.anatomy import dissect, prompt_text
from heedful.tokens.boundary import NO_CUT, Boundary, Cut
from heedful.tokens.builtin import source_of
from heedful.tokens.control import split_control, with_control
from heedful.tokens.encoded import EncodedExample
from heedful.tokens.turns import TrainOn, drop_oldest
from heedful.tokens.vocabulary import Vocabulary
from heedful.types import TEXT, Example, Message, UserError


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A prompt's tokens: `lead` (BOS where the tokenizer adds it, or what stands for an empty prompt) and `ids`."""

    lead: list[int]
    ids: list[int]
    cut: Cut

    @property
    def all(self) -> list[int]:
        return [*self.lead, *self.ids]


class Template:
    """How conversations become tokens for one tokenizer.

    name: the built-in's, the file's, `tokenizer` for the tokenizer's own, `strings` for four strings.
    source: the whole template as Jinja, without a control token.
    control: the control token that prompts end with in sampling, None for none.
    stop_ids: tokens that end a response, the most usual first.
    """

    def __init__(self, tokenizer: Any, name: str, source: str, control: str | None = None):
        self.tokenizer, self.name = tokenizer, name
        self.source, written = split_control(source)
        self.vocabulary = Vocabulary(tokenizer)
        self.control = (written if control is None else control) or None
        self.control_ids = () if self.control is None else (self.vocabulary.special_id(self.control),)
        self.boundary = Boundary(self.vocabulary)
        self.anatomy = dissect(name, self.render, self.boundary)
        stops = (self.anatomy.end_id, self.vocabulary.eos_id)
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(index for index in stops if index is not None))
        if not self.stop_ids:
            raise UserError(
                "The tokenizer has no EOS token and the template no end of turn, so no answer could end; "
                "set eos_token in its tokenizer_config.json."
            )

    @staticmethod
    def load(tokenizer: Any, spec: str | dict[str, str] | None = None, *, control: str | None = None) -> Template:
        """The template for `tokenizer`.

        spec: None for the tokenizer's own (for a base model without one, `plain`); the name of a built-in (`chatml`,
        `safe-rlhf`, `hh`, `alpaca`, `plain`); a Jinja file; or a dict of human_prefix, human_suffix,
        assistant_prefix, assistant_suffix.  Built-ins and strings begin with BOS if the tokenizer puts it before
        plain text; a file and the tokenizer's own must write it themselves, as everywhere.
        control: the control token that sampling is conditioned on, empty for none; None takes the one that the
        tokenizer's own template was saved with.
        Raises UserError for a template that does not exist or cannot render a question and its answer, and for a
        tokenizer without EOS, without a fast version, or without that control token.
        """
        name, source = source_of(tokenizer, spec, adds_bos=Vocabulary(tokenizer).bos_id is not None)
        return Template(tokenizer, name, source, control)

    @property
    def chat_template(self) -> str:
        """The whole template as Jinja, control token included: what is saved with a model."""
        return with_control(self.source, self.control)

    @property
    def start_id(self) -> int:
        """What stands before a text that has nothing before it: BOS, or EOS where there is none."""
        return self.eos_id if self.vocabulary.start_id is None else self.vocabulary.start_id

    @property
    def eos_id(self) -> int:
        """The token put after an answer that the template itself does not end."""
        return self.stop_ids[-1]

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """The conversation as text; `text` messages verbatim.

        generation_prompt: end with what announces an answer.  Raises ValueError with the template's own words if it
        refuses the conversation.
        """
        if messages and all(message.role == TEXT for message in messages):
            return "".join(message.content for message in messages)
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self.tokenizer.apply_chat_template(
                chat, chat_template=self.source, tokenize=False, add_generation_prompt=generation_prompt
            )
        except Exception as error:  # Jinja lets through whatever the template's expressions raise
            raise ValueError(str(error)) from error

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The rendered prompt: text that every continuation of `messages` with an answer begins with."""
        if not messages:
            return ""
        if messages[0].role == TEXT:
            return self.render(messages)
        return prompt_text(messages, self.render, regular=self.anatomy.regular)

    def prompt_tokens(self, text: str, ids: Sequence[int], *, verbatim: bool) -> PromptTokens:
        """Cut the tokens `ids` of the rendered prompt `text` back to the stable boundary and put BOS where it belongs.

        A chat template writes its BOS itself; a verbatim text gets the one the tokenizer adds; an empty prompt is
        BOS, or EOS.  Before a control token nothing is cut: text never merges with a special token.
        """
        if not text:
            ids, cut = [], NO_CUT
        elif self.control_ids:
            cut = NO_CUT
        else:
            cut = (None if verbatim else self.anatomy.cut) or self.boundary.cut(text, ids)
        kept = list(ids[: len(ids) - cut.tokens])
        bos = self.vocabulary.bos_id
        lead = [bos] if verbatim and bos is not None and kept[:1] != [bos] else []
        if not lead and not kept:
            lead = [self.start_id]
        return PromptTokens(lead, kept, cut)

    def encode(
        self,
        examples: Sequence[Example],
        *,
        train_on: TrainOn = "last",
        max_length: int,
        max_prompt_length: int | None = None,
    ) -> list[EncodedExample | Dropped]:
        """Tokenise examples: one result each, in order; several for a document longer than `max_length`.

        train_on: the last assistant turn of each response, or all of them; `Message.trained` can only take away.
        max_length: of a prompt with its longest response.  Whole turns are left out, oldest first, until it fits;
        verbatim prompts are cut from the left; documents are cut into chunks.  Where that is not enough (one turn
        alone too long, an answer that does not fit) the example is dropped with the reason: no answer loses its end.
        """
        from heedful.tokens.encoding import encode

        return encode(self, examples, train_on=train_on, max_length=max_length, max_prompt_length=max_prompt_length)

    def encode_prompt(self, messages: Sequence[Message], *, max_prompt_length: int | None = None) -> list[int]:
        """The prompt's tokens for sampling, the same that training gives to it; the control token is the last.

        Raises UserError if the last turn alone is longer than `max_prompt_length`, or the template refuses the prompt.
        """
        kept = list(messages)
        verbatim = bool(kept) and kept[0].role == TEXT
        while True:
            try:
                text = self.prompt_text(kept)
            except ValueError as error:
                raise UserError(f"The template {self.name} refuses a prompt: {error}") from None
            prompt = self.prompt_tokens(text, self.vocabulary.encode([text])[0], verbatim=verbatim)
            tokens = [*prompt.all, *self.control_ids]
            if max_prompt_length is None or len(tokens) <= max_prompt_length:
                return tokens
            if verbatim:
                room = max_prompt_length - len(self.control_ids)
                return [*cut_left(prompt, room, self.vocabulary), *self.control_ids]
            shorter = drop_oldest(kept)
            if shorter is None:
                raise UserError(
                    f"A prompt's last turn alone takes {len(tokens)} tokens, more than max_prompt_length="
                    f"{max_prompt_length}; raise it or shorten the prompt."
                )
            kept = shorter

    def decode_response(self, ids: Sequence[int], prompt: Sequence[Message] | None = None) -> str:
        """The answer that response tokens spell, without stop token and without the header's remainder.

        prompt: what was answered; without it an ordinary question is assumed, which is right for chat templates with
        a header.  Give it for verbatim prompts, whose trailing blanks ride with the response.
        """
        end = next((i for i, index in enumerate(ids) if index in self.stop_ids), len(ids))
        verbatim = bool(prompt) and prompt[0].role == TEXT
        if prompt:
            text = self.prompt_text(prompt)
            before = self.prompt_tokens(text, self.vocabulary.encode([text])[0], verbatim=verbatim)
            context = [*before.all, *self.control_ids]
            remainder = text[len(text) - before.cut.characters :] + ("" if verbatim else self.anatomy.extra)
        else:
            context = self._context
            remainder = self.anatomy.extra if self.control_ids else self.anatomy.remainder
        answer = self.vocabulary.continuation(context, ids[:end]).removeprefix(remainder)
        return answer if verbatim else answer.removesuffix(self.spelled_end)

    @cached_property
    def _context(self) -> list[int]:
        """Tokens of some prompt, behind which response tokens are decoded."""
        return self.encode_prompt([Message("user", "Hello.")])

    @cached_property
    def spelled_end(self) -> str:
        """What ends an answer before the stop token: ordinary text that the template writes."""
        end_id = self.anatomy.end_id
        return self.anatomy.keep if end_id is None else self.anatomy.keep.removesuffix(self.vocabulary.token(end_id))


def cut_left(prompt: PromptTokens, limit: int, vocabulary: Vocabulary) -> list[int]:
    """The last `limit` tokens of a prompt, its lead kept, beginning with a whole character.  `limit` > len(lead)."""
    kept = prompt.ids[len(prompt.ids) - (limit - len(prompt.lead)) :]
    while len(kept) > 1 and vocabulary.decode(kept[:4]).startswith("\ufffd"):
        kept = kept[1:]
    return [*prompt.lead, *kept]
