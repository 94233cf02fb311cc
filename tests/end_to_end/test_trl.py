"""TRL reads what `heed data convert` writes, and its losses on it are ours: an oracle for tokens, masks and objectives.

Where the two tokenise differently, in the open: TRL ends the prompt where the generation prompt ends, we where every
continuation leaves the tokens alone; TRL also trains on what a template prints after the end of turn (a newline), we
stop at the end of turn, which is the last token a sampler would draw.  The comparisons therefore use a tokenizer that
merges nothing and a template that prints nothing after the end of turn; the last test looks at the difference itself.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from heedful.cli.root import main
from heedful.training.metrics import read_metrics
from tests.end_to_end.runs import write_pairs
from tests.fakes import save_tiny_model, tiny_tokenizer

pytestmark = pytest.mark.slow
pytest.importorskip("trl")

NUM = 8
TIGHT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""Nothing after the end of turn, and no newline at the end of the header."""
LOOSE = TIGHT.replace(">{{", ">{{ '\n' }}{{").replace("{{ eos_token }}", "{{ eos_token }}{{ '\n' }}")
"""A newline after the header and after the end of turn, as in ChatML."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of bytes, and pairs as chat and as plain text, each exported to every format of TRL."""
    folder = tmp_path_factory.mktemp("trl")
    byte_wise = {"tokenizer": tiny_tokenizer(vocab_size=258, chat_template=TIGHT)}
    save_tiny_model(folder / "policy", seed=0, **byte_wise)
    save_tiny_model(folder / "reference", seed=1, **byte_wise)
    save_tiny_model(folder / "judge", seed=2, score=True, **byte_wise)
    write_pairs(folder / "chat.jsonl", NUM)
    with (folder / "text.jsonl").open("w") as file:
        for i in range(NUM):
            row = {"prompt": f"Count {i}:", "chosen": f" that is {i * i}.", "rejected": " no" * (1 + i % 3)}
            file.write(json.dumps(row) + "\n")
    for form in ("chat", "text"):
        for kind in ("preference", "unpaired", "prompt-completion", "prompt-only", "language-modeling"):
            assert (
                main(
                    [
                        "data",
                        "convert",
                        str(folder / f"{form}.jsonl"),
                        str(folder / f"{form}-{kind}.jsonl"),
                        "--to",
                        kind,
                    ]
                )
                == 0
            )
    return folder


def trl_loss(place: Path, objective: str, data: str, **settings: Any) -> float:
    """The loss of the first and only step of TRL's own trainer, over all the data at once."""
    import trl
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    os.environ["TQDM_DISABLE"] = "1"
    name = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward": "Reward"}[objective]
    rows = load_dataset("json", data_files=str(place / data), split="train", cache_dir=str(place / "datasets"))
    common = {"per_device_train_batch_size": len(rows), "max_steps": 1, "logging_steps": 1, "use_cpu": True}
    common |= {"bf16": False, "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no"}
    config = getattr(trl, f"{name}Config")(output_dir=str(place / "out"), disable_tqdm=True, **common, **settings)
    auto = AutoModelForSequenceClassification if objective == "reward" else AutoModelForCausalLM
    model = auto.from_pretrained(place / ("judge" if objective == "reward" else "policy"))
    reference = {"ref_model": AutoModelForCausalLM.from_pretrained(place / "reference")}
    trainer = getattr(trl, f"{name}Trainer")(
        model=model,
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(place / "policy"),
        **(reference if objective in ("dpo", "kto") else {}),
    )
    trainer.train()
    return next(row["loss"] for row in trainer.state.log_history if "loss" in row)


def our_loss(place: Path, objective: str, data: str, *settings: str) -> float:
    """The loss of our first step, from the same file, over all the data at once."""
    run = place / f"{objective}-{data}"
    words = [f"model={place / ('judge' if objective == 'reward' else 'policy')}", f"data={place / data}", f"out={run}"]
    words += ["steps=1", "batch_size=64", "lr=1e-9", f"cache_dir={place / 'cache'}", *settings]
    assert main(["train", objective, *words]) == 0
    return read_metrics(run / "metrics.jsonl")[0]["loss"]


@pytest.mark.parametrize("form", ["chat", "text"])
def test_dpo_has_trls_loss(place: Path, form: str) -> None:
    theirs = trl_loss(place, "dpo", f"{form}-preference.jsonl", beta=0.3)
    ours = our_loss(place, "dpo", f"{form}-preference.jsonl", "beta=0.3", f"reference={place / 'reference'}")
    assert abs(theirs - math.log(2)) > 0.01  # the reference is another model, so the loss says something
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("form", ["chat", "text"])
def test_sft_has_trls_loss(place: Path, form: str) -> None:
    theirs = trl_loss(place, "sft", f"{form}-prompt-completion.jsonl")
    assert our_loss(place, "sft", f"{form}-prompt-completion.jsonl") == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("form", ["chat", "text"])
def test_reward_has_trls_loss(place: Path, form: str) -> None:
    theirs = trl_loss(place, "reward", f"{form}-preference.jsonl")
    assert our_loss(place, "reward", f"{form}-preference.jsonl") == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(
    ("objective", "data"), [("kto", "unpaired"), ("sft", "language-modeling"), ("dpo", "preference")]
)
@pytest.mark.parametrize("form", ["chat", "text"])
def test_trl_trains_on_every_export(place: Path, form: str, objective: str, data: str) -> None:
    """KTO's loss is not compared: TRL takes the mismatched answers from the batch, we fix them with the data."""
    assert math.isfinite(trl_loss(place, objective, f"{form}-{data}.jsonl"))


@pytest.mark.parametrize("form", ["chat", "text"])
def test_prompts_alone_have_the_column_that_trls_online_trainers_read(place: Path, form: str) -> None:
    rows = [json.loads(line) for line in (place / f"{form}-prompt-only.jsonl").open()]
    assert [list(row) for row in rows] == [["prompt"]] * NUM
    assert isinstance(rows[0]["prompt"], list if form == "chat" else str)


def test_where_the_two_tokenise_differently_the_text_is_the_same(tmp_path: Path) -> None:
    """A usual template and merges: TRL's tokens spell ours, and the newline after the end of turn."""
    from heedful.examples import load
    from heedful.tokens import EncodedExample, Template

    tokenizer = tiny_tokenizer(chat_template=LOOSE)
    template = Template.load(tokenizer)
    rows = [json.loads(line) for line in write_pairs(tmp_path / "pairs.jsonl", NUM).open()]
    for example, row in zip(load(str(tmp_path / "pairs.jsonl")), rows, strict=True):
        (encoded,) = template.encode([example], max_length=512)
        assert isinstance(encoded, EncodedExample)
        text = tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tokenize=False)
        ours = tokenizer.decode([*encoded.prompt_ids, *encoded.responses[0].ids])
        assert ours + "\n" == text
        assert encoded.responses[0].ids[-1] == tokenizer.eos_token_id
        assert bool(encoded.responses[0].trained[-1])
