"""OpenAssistant's reward models: GPT-NeoX with one linear layer, `out_proj`, on the hidden state of the last token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from heedful.models.folders import holds_model, read_json
from heedful.scorers.dialogue import bare
from heedful.scorers.pretrained import folder_of, load_with_head
from heedful.scorers.scorer import Scorer
from heedful.types import Example, Message, UserError

MODEL_TYPE = "gpt_neox_reward_model"
MARKS = {"user": "<|prompter|>", "assistant": "<|assistant|>", "system": "<|system|>", "text": "<|prompter|>"}
"""What begins a turn of each role; the tokenizer's end of text ends it.  A plain prompt is one turn of the human."""
_MARK = re.compile("|".join(re.escape(mark) for mark in MARKS.values()))
_ROLES = {mark: role for role, mark in MARKS.items() if role != "text"}


def is_open_assistant(name: str) -> bool:
    """Whether a local folder holds one of these models."""
    folder = Path(name).expanduser()
    return holds_model(folder) and read_json(folder / "config.json").get("model_type") == MODEL_TYPE


def open_assistant(folder: str, device: str) -> Scorer:
    """The model's raw logit of a dialogue with the response as its last turn; larger is better, without bounds.

    The last 1,024 tokens of it, as in the published use (Baheti et al. 2024, arXiv:2305.14718).  A plain prompt may
    bring its turns with the marks written out.
    """
    from transformers import GPTNeoXConfig, GPTNeoXModel

    path = folder_of(folder)
    written = read_json(Path(path) / "config.json")
    if written.get("model_type") != MODEL_TYPE:
        raise UserError(f"{path} is a {written.get('model_type')}, not an OpenAssistant reward model ({MODEL_TYPE})")
    if (written.get("pooling") or "last") != "last":
        raise UserError(f"{path} pools by {written['pooling']!r}; only the published models' 'last' is read")
    config = GPTNeoXConfig.from_dict({**written, "model_type": "gpt_neox"})
    model = load_with_head(GPTNeoXModel, path, config, "out_proj", device, max_length=1024)
    end = model.tokenizer.eos_token

    def of_turns(dialogues: Sequence[list[Message]]) -> list[float]:
        return model([rendered(turns, end) for turns in dialogues])[:, 0].tolist()

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        answers = [Message("assistant", bare(r)) for r in responses]
        return of_turns([[*split_turns(p), answer] for p, answer in zip(prompts, answers, strict=True)])

    def on_examples(examples: Sequence[Example]) -> list[float]:
        return of_turns([[*_turns(e.prompt), *_answer(r.messages)] for e in examples for r in e.responses])

    return Scorer("open_assistant", function, False, None, f"the reward model {path}", on_examples, model.note)


def rendered(turns: Sequence[Message], end: str) -> str:
    """A dialogue as the models read it: each turn between its mark and the end of text.

    Raises UserError for a role without a mark.
    """
    unknown = next((turn.role for turn in turns if turn.role not in MARKS), None)
    if unknown is not None:
        raise UserError(
            f"an OpenAssistant reward model knows no role {unknown!r}; it knows {', '.join(_ROLES.values())}"
        )
    return "".join(MARKS[turn.role] + turn.content + end for turn in turns)


def split_turns(prompt: str) -> list[Message]:
    """The turns of a plain prompt: at its marks if it begins with one, else the whole as one turn of the human."""
    if not _MARK.match(prompt):
        return [Message("user", bare(prompt))] if prompt else []
    marks = _MARK.findall(prompt)
    contents = [bare(content.strip()).strip() for content in _MARK.split(prompt)[1:]]
    turns = [Message(_ROLES[mark], content) for mark, content in zip(marks, contents, strict=True)]
    return turns[:-1] if turns[-1].role == "assistant" and not turns[-1].content else turns  # the response follows


def _turns(messages: Sequence[Message]) -> list[Message]:
    if len(messages) == 1 and messages[0].role == "text":
        return split_turns(messages[0].content)
    return list(messages)


def _answer(messages: Sequence[Message]) -> list[Message]:
    return [Message("assistant" if m.role == "text" else m.role, bare(m.content)) for m in messages]
