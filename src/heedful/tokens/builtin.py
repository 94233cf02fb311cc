"""The chat templates we bring, as Jinja, and where a template may come from.

Each is complete: it writes BOS where the tokenizer would, and an end of turn after every answer where the published
one does, so that `apply_chat_template` and other people's servers render what was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heedful.types import UserError

_NO_ROLE = "{{ raise_exception('The NAME template has no role ' + message['role']) }}"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML (OpenAI): `<|im_start|>role`, newline, content, `<|im_end|>`, newline."""

PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] }}{{ eos_token }}{{ '\\n\\n' }}"
    "{% else %}" + _NO_ROLE.replace("NAME", "plain") + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""For base models: `User: …`, blank line, `Assistant: …` and EOS, blank line; the system message stands first."""

HH = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '\\n\\nHuman: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '\\n\\nAssistant: ' + message['content'] }}"
    "{% else %}" + _NO_ROLE.replace("NAME", "hh") + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\nAssistant:' }}{% endif %}"
)
"""Anthropic's HH-RLHF: `\\n\\nHuman: …\\n\\nAssistant: …`; only the last answer is followed by EOS, as published."""

SAFE_RLHF = (
    "{{ 'BEGINNING OF CONVERSATION: ' }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + ' ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT:' + message['content'] }}{{ eos_token }}"
    "{% else %}" + _NO_ROLE.replace("NAME", "safe-rlhf") + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""Safe-RLHF (Beaver): `BEGINNING OF CONVERSATION: USER: … ASSISTANT:…` and EOS after each answer."""

_ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
ALPACA = (
    "{% if messages[0]['role'] != 'system' %}{{ '" + _ALPACA_SYSTEM + "\\n\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '### Response:\\n' + message['content'] }}{{ eos_token }}{{ '\\n\\n' }}"
    "{% else %}" + _NO_ROLE.replace("NAME", "alpaca") + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
"""Stanford Alpaca's prompt without input, extended to several turns."""

DIALOGPT = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
"""DialoGPT: turns of whatever role, each with EOS after it; the template its tokenizer brings."""

_LOL_HH_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.\\n"
).replace("'", "\\'")
LOL_HH = (
    "{% if messages[0]['role'] != 'system' %}{{ '" + _LOL_HH_SYSTEM + "' }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ ' ### Human: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ### Assistant: ' + message['content'] }}"
    "{% else %}" + _NO_ROLE.replace("NAME", "lol-hh") + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ### Assistant:' }}{% endif %}"
)
"""A-LoL's Helpful and Harmless, the prompt of Guanaco: ` ### Human: … ### Assistant: …`; EOS after the last answer."""

BUILTIN = {
    "chatml": CHATML,
    "safe-rlhf": SAFE_RLHF,
    "hh": HH,
    "alpaca": ALPACA,
    "plain": PLAIN,
    "dialogpt": DIALOGPT,
    "lol-hh": LOL_HH,
}

STRINGS = ("human_prefix", "human_suffix", "assistant_prefix", "assistant_suffix")


def source_of(tokenizer: Any, spec: str | dict[str, str] | None, *, adds_bos: bool) -> tuple[str, str]:
    """(name, Jinja) of a template: see `Template.load`.  Raises UserError for one that does not exist."""
    if isinstance(spec, dict):
        return "strings", _bos(from_strings(spec), adds_bos)
    if spec is None:
        own = tokenizer.chat_template
        if isinstance(own, dict):  # several named ones
            own = own.get("default")
        return ("tokenizer", own) if own else ("plain", _bos(PLAIN, adds_bos))
    if spec in BUILTIN:
        return spec, _bos(BUILTIN[spec], adds_bos)
    path = Path(spec)
    if not path.is_file():
        names = ", ".join(sorted(BUILTIN))
        raise UserError(f"template={spec} is neither a file nor one of {names}.")
    return path.name, path.read_text(encoding="utf-8")


def from_strings(strings: dict[str, str]) -> str:
    """Jinja for four strings around the turns; a system message stands first, with a blank line after it.

    Raises UserError if one is missing, unknown or not a string.
    """
    wrong = sorted(set(strings) ^ set(STRINGS)) or [name for name in STRINGS if not isinstance(strings[name], str)]
    if wrong:
        raise UserError(f"A template of strings has exactly {', '.join(STRINGS)}; look at {', '.join(wrong)}.")
    before_user, after_user, before_answer, after_answer = (_literal(strings[name]) for name in STRINGS)
    return (
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
        f"{{% elif message['role'] == 'user' %}}{{{{ {before_user} + message['content'] + {after_user} }}}}"
        f"{{% elif message['role'] == 'assistant' %}}"
        f"{{{{ {before_answer} + message['content'] + {after_answer} }}}}"
        "{% else %}" + _NO_ROLE.replace("NAME", "four-strings") + "{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ {before_answer} }}}}{{% endif %}}"
    )


def _literal(text: str) -> str:
    """A Jinja string literal; Jinja reads Python's escapes."""
    return "'" + text.encode("unicode_escape").decode("ascii").replace("'", "\\'") + "'"


def _bos(source: str, adds_bos: bool) -> str:
    return "{{ bos_token }}" + source if adds_bos else source
