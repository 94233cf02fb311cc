"""What a run can be: adapters, encoders, foreign code, precisions, optimizers; and what `final/` then holds."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional as F

from heedful.cli import main
from heedful.examples import load, to_pairs
from heedful.tokens import Template
from heedful.training.loop import Loop
from heedful.training.metrics import read_metrics
from heedful.types import RunError, UserError
from heedful.workflows.scoring import score
from tests.end_to_end.runs import assert_same_bits, write_pairs
from tests.fakes import CHAT_TEMPLATE, save_tiny_model, tiny_tokenizer
from tests.training.small_runs import Fault, broken_run, failing_at, losses, rows, small_config, small_run, steps

LOG_2 = pytest.approx(math.log(2), abs=1e-6)
STEADY: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "max_grad_norm": None}
EVALUATED: dict[str, Any] = {"eval_fraction": 0.25, "eval_every": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and pairs, in which runs share their caches."""
    path = tmp_path_factory.mktemp("variants")
    write_pairs(path / "pairs.jsonl")
    save_tiny_model(path / "model", tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE))
    return path


# ---- adapters


@pytest.fixture(scope="module")
def adapted(place: Path) -> Path:
    return small_run(place, "dpo", "adapted", lora={"r": 4})


def test_new_adapters_begin_at_their_base(place: Path, adapted: Path) -> None:
    first, *_, last = losses(adapted)
    assert first == LOG_2
    assert last < 0.6
    assert not (adapted / "final" / "model.safetensors").exists()
    assert_same_bits(adapted, broken_run(place, "dpo", "adapted-broken", lora={"r": 4}))


def test_the_reference_of_a_continued_adapter_is_base_plus_adapter(place: Path, adapted: Path) -> None:
    """Were it the bare base, the first loss would be what the first run came to, and not log 2."""
    continued = small_run(place, "dpo", "continued", adapter=str(adapted))
    assert losses(continued)[0] == LOG_2
    named = small_run(place, "dpo", "named", model=str(adapted))
    assert rows(named) == rows(continued)


@pytest.mark.parametrize("start", ["lora", "adapter"])
def test_a_resumed_run_keeps_its_reference(place: Path, adapted: Path, start: str) -> None:
    """The cache is gone when the run goes on, and its weights are no longer those it began with."""
    settings: dict[str, Any] = {"adapter": str(adapted)} if start == "adapter" else {"lora": {"r": 4}}
    unbroken = small_run(place, "dpo", f"whole-{start}", **settings)
    caches = [str(place / f"{name}-{start}") for name in ("before", "after")]
    with failing_at(3), pytest.raises(Fault):
        small_run(place, "dpo", f"resumed-{start}", **settings, cache_dir=caches[0])
    resumed = small_run(place, "dpo", f"resumed-{start}", **settings, cache_dir=caches[1])
    assert_same_bits(unbroken, resumed)
    before, after = (next(Path(cache).rglob("*.npz")) for cache in caches)
    assert before.parent.name == after.parent.name, "the reference is known by another digest"
    assert before.read_bytes() == after.read_bytes()


def test_peft_loads_the_adapter_and_merged_it_answers_the_same(place: Path, adapted: Path) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    from heedful.models import load_policy
    from heedful.models.saving import merge

    ids = torch.arange(5, 25)[None]
    ours = load_policy(str(adapted)).model.inner.eval()
    plain = AutoPeftModelForCausalLM.from_pretrained(str(adapted / "final")).eval()
    merged = AutoModelForCausalLM.from_pretrained(merge(str(adapted), place / "merged")).eval()
    with torch.no_grad():
        wanted = plain(ids).logits
        assert torch.allclose(ours(ids).logits, wanted, atol=1e-5)
        assert torch.allclose(merged(ids).logits, wanted, atol=1e-5)


# ---- what is not a plain decoder


def encoder_tokenizer() -> Any:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A {end}", pair=f"{end} $A {end} {end} $B {end}", special_tokens=[(end, 0)]
    )
    return tokenizer


@pytest.mark.slow
def test_an_encoder_scores_text_pairs(place: Path) -> None:
    """Trained, cut short, resumed; its scores are those of the plain model on (prompt, answer with its end)."""
    from transformers import AutoModelForSequenceClassification

    model = save_tiny_model(place / "encoder", "roberta", tokenizer=encoder_tokenizer(), score=True)
    settings = {"model": str(model), "steps": 6}
    run = small_run(place, "reward", "encoded", **settings)
    assert losses(run)[-1] < losses(run)[0]
    assert_same_bits(run, broken_run(place, "reward", "encoded-broken", **settings))
    plain = AutoModelForSequenceClassification.from_pretrained(run / "final", num_labels=1).eval()
    template = Template.load(encoder_tokenizer())
    for example in load(str(score(str(run), str(place / "pairs.jsonl"), place / "encoded.jsonl", device="cpu")))[:4]:
        (encoded,) = template.encode([example], max_length=512)
        for response, answer in zip(example.responses, encoded.responses, strict=True):  # type: ignore[union-attr]
            ids = [0, *encoded.prompt_ids.tolist(), 0, 0, *answer.ids.tolist(), 0]  # type: ignore[union-attr]
            assert response.reward == pytest.approx(plain(torch.tensor([ids])).logits.item(), abs=1e-5)


def test_an_encoders_short_table_of_positions_is_respected(place: Path) -> None:
    """100 positions, of which RoBERTa leaves two out and the frame takes four."""
    tokenizer = encoder_tokenizer()
    model = save_tiny_model(place / "short", "roberta", tokenizer=tokenizer, score=True, max_position_embeddings=100)
    with pytest.raises(UserError, match=r"has positions for 94 tokens.* set max_length=94"):
        small_run(place, "reward", "too-long", model=str(model))
    turns = [("user", "Good morning! " * 5), ("assistant", "And to you."), ("user", "What is it?")]
    prompt = [{"role": role, "content": content} for role, content in turns]
    answers = {"chosen": "It is a dog, I think.", "rejected": "Nothing at all, as far as I can see."}
    long = {"prompt": prompt} | {k: [{"role": "assistant", "content": v}] for k, v in answers.items()}
    data = place / "long.jsonl"
    data.write_text((place / "pairs.jsonl").read_text() + json.dumps(long) + "\n")
    run = small_run(place, "reward", "cut", model=str(model), data=str(data), max_length=94)
    report = json.loads((run / "data.json").read_text())["train"]
    (reason,) = report["dropped"]
    assert reason == "its answer does not fit in max_length=94"
    assert report["num_in"] == 25 == report["num_trained"] + report["dropped"][reason]["count"]
    assert report["truncated"]["examples without their oldest turns"] == 1
    assert report["lengths"]["sequence"][-1] <= 94


OWN_CONFIG = "from transformers import LlamaConfig\n\n\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
OWN_MODEL = """from transformers import LlamaForCausalLM

from .configuration_own import OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.slow
def test_a_model_with_its_own_code(place: Path) -> None:
    """Refused without trust; with it, the same losses as the same weights under Transformers' own name."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(place / "model", place / "own")
    (folder / "configuration_own.py").write_text(OWN_CONFIG)
    (folder / "modeling_own.py").write_text(OWN_MODEL)
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto}))
    with pytest.raises(UserError, match="trust_remote_code=true"):
        small_run(place, "dpo", "untrusted", model=str(folder))
    assert not (place / "untrusted").exists()
    run = small_run(place, "dpo", "trusted", model=str(folder), trust_remote_code=True)
    assert losses(run) == pytest.approx(losses(small_run(place, "dpo", "known")), abs=1e-5)
    assert_same_bits(run, broken_run(place, "dpo", "trusted-broken", model=str(folder), trust_remote_code=True))
    AutoModelForCausalLM.from_pretrained(run / "final", trust_remote_code=True)


@pytest.mark.parametrize("arch", ["llama", "bloom"])
def test_dpo_is_what_a_loop_by_hand_gives(place: Path, arch: str) -> None:
    """Packs for the one, padding for the other; by hand one response at a time, without either."""
    model = save_tiny_model(place / f"hand-{arch}", arch)
    data = write_pairs(place / "eight.jsonl", 8)
    run = small_run(place, "dpo", f"run-{arch}", model=str(model), data=str(data), batch_size=8, steps=3, **STEADY)
    assert losses(run) == pytest.approx(by_hand(model, data, num_steps=3, lr=1e-3, beta=0.1), abs=2e-5)


def by_hand(folder: Path, data: Path, *, num_steps: int, lr: float, beta: float) -> list[float]:
    """DPO on all pairs at once, with the plain Transformers model and torch's AdamW."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    template = Template.load(AutoTokenizer.from_pretrained(folder))
    encoded: list[Any] = template.encode(to_pairs(load(str(data))).examples, max_length=128)

    def logps(prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
        ids = torch.tensor([*prompt, *answer])
        predicted = F.log_softmax(model(ids[None]).logits[0, len(prompt) - 1 : -1].float(), -1)
        return predicted.gather(1, ids[len(prompt) :, None]).sum()

    def margins() -> torch.Tensor:
        return torch.stack(
            [logps(e.prompt_ids, e.responses[0].ids) - logps(e.prompt_ids, e.responses[1].ids) for e in encoded]
        )

    with torch.no_grad():
        reference = margins()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    found = []
    for _ in range(num_steps):
        loss = -F.logsigmoid(beta * (margins() - reference)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


# ---- arithmetic and optimizers


def test_gradient_checkpointing_changes_nothing(place: Path) -> None:
    plain = small_run(place, "dpo", "kept")
    again = small_run(place, "dpo", "recomputed", gradient_checkpointing=True)
    for row, twin in zip(rows(plain), rows(again), strict=True):
        assert row == pytest.approx(twin, rel=1e-6, abs=1e-6)


def test_bf16_keeps_what_bf16_weights_would_lose(place: Path) -> None:
    """Three steps of 1e-5 on a norm's weight of 1: a bfloat16 there moves by 2⁻⁸ = 0.0039 or not at all."""
    settings: dict[str, Any] = {"dtype": "bf16", "lr": 1e-5, "steps": 3, **STEADY}
    run = small_run(place, "dpo", "bf16", **settings)
    weights = load_file(run / "final" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    norm = weights["model.norm.weight"]
    assert ((norm - 1).abs() > 1e-6).float().mean() > 0.9
    assert ((norm - 1).abs() <= 3.1e-5).all()
    assert (norm.bfloat16() == 1).all()
    assert_same_bits(run, broken_run(place, "dpo", "bf16-broken", step=2, checkpoint_every=2, **settings))
    exact = small_run(place, "dpo", "fp32", **{**settings, "dtype": "fp32"})
    assert losses(run) == pytest.approx(losses(exact), abs=5e-3)
    assert losses(run) != losses(exact)


@pytest.mark.parametrize(("name", "arguments"), [("RMSprop", {"momentum": 0.5}), ("SGD", {"momentum": 0.9})])
def test_other_optimizers_learn_and_resume(place: Path, name: str, arguments: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"optimizer": name, "optimizer_args": arguments, "lr": 1e-2 if name == "SGD" else 1e-3}
    run = small_run(place, "sft", name, **settings)
    assert losses(run)[-1] < losses(run)[0]
    assert_same_bits(run, broken_run(place, "sft", f"{name}-broken", **settings))


def test_an_optimizer_that_refuses_the_model_says_so(place: Path) -> None:
    with pytest.raises(UserError, match=r"optimizer=Muon refuses .* 2D"):
        small_run(place, "sft", "muon", optimizer="Muon")
    assert not (place / "muon").exists()


def test_what_sampler_or_reference_refuse_they_refuse_before_anything_is_written(place: Path) -> None:
    with pytest.raises(UserError, match=r"batch_size=10 tokens .* raise batch_size"):
        small_run(place, "dpo", "refused", batch_unit="tokens", batch_size=10)
    judge = save_tiny_model(place / "judge", tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE), score=True)
    with pytest.raises(UserError, match="not those of a language model"):
        small_run(place, "dpo", "refused", reference=str(judge))
    assert not (place / "refused").exists()


# ---- how long, how much, what is kept


def test_steps_and_epochs_are_two_names_for_a_length(place: Path) -> None:
    """24 pairs in batches of 4: an epoch and a half is 9 steps; the schedule is the same, so the bits are."""
    epochs = small_run(place, "sft", "epochs", steps=None, epochs=1.5)
    assert len(losses(epochs)) == 9
    assert_same_bits(epochs, small_run(place, "sft", "steps", steps=9))
    assert steps(epochs)[-1]["epoch"] == 1.5


@pytest.mark.parametrize(("unit", "size"), [("responses", 8), ("tokens", 400)])
def test_a_batch_counts_its_unit(place: Path, unit: str, size: int) -> None:
    run = small_run(place, "dpo", f"by-{unit}", batch_unit=unit, batch_size=size)
    taken = [row["step_tokens"] for row in steps(run)]
    if unit == "responses":
        assert taken == [row["step_tokens"] for row in steps(small_run(place, "dpo", "by-prompts"))], "4 pairs are 8"
    else:
        longest = 160  # tokens of the longest pair: examples stay whole
        assert all(abs(tokens - size) < longest for tokens in taken)
        assert sum(taken) == pytest.approx(4 * size, abs=longest)


def test_the_best_checkpoint_outlives_later_ones(place: Path) -> None:
    settings: dict[str, Any] = {"keep_best": "min:eval/loss", "keep": 1, "lr": 0.3, "steps": 6, **EVALUATED, **STEADY}
    run = small_run(place, "sft", "best", **settings)
    losses_by_step = {row["step"]: row["eval/loss"] for row in rows(run) if "eval/loss" in row and row["step"]}
    best = min(losses_by_step, key=losses_by_step.__getitem__)
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert kept == {f"step-{best}", "step-6"}
    trainer = json.loads((run / "checkpoints" / "step-6" / "trainer.json").read_text())
    assert (trainer["best_step"], trainer["best"]) == (best, losses_by_step[best])
    assert best not in (1, 6), "this test wants a best step in the middle"
    resumed = broken_run(place, "sft", "best-broken", step=5, **settings)
    assert {path.name for path in (resumed / "checkpoints").iterdir()} == kept


def test_a_metric_that_nobody_gives_cannot_be_the_best(place: Path) -> None:
    with pytest.raises(RunError, match="keep_best watches eval/nonesuch, which evaluation does not give"):
        small_run(place, "sft", "no-best", keep_best="min:eval/nonesuch", **EVALUATED)
    with pytest.raises(ValidationError, match="keep_best needs an evaluation set"):
        small_config(place, "sft", "no-best", keep_best="min:eval/loss")


def test_another_reference_is_another_loss(place: Path) -> None:
    other = save_tiny_model(place / "other", seed=5)
    run = small_run(place, "dpo", "held", reference=str(other))
    assert losses(run)[0] != LOG_2
    itself = small_run(place, "dpo", "held-to-itself", reference=str(place / "model"))
    assert losses(itself) == losses(small_run(place, "dpo", "held-to-its-start"))


# ---- what is left


@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_final_loads_as_a_plain_language_model(place: Path, objective: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = small_run(place, objective, f"plain-{objective}")
    model, report = AutoModelForCausalLM.from_pretrained(run / "final", output_loading_info=True)
    assert not any(report.values()), "nothing missing, nothing left over"
    for name, tensor in load_file(run / "checkpoints" / "step-4" / "model.safetensors").items():
        assert torch.equal(model.state_dict()[name], tensor)
    assert AutoTokenizer.from_pretrained(run / "final").chat_template == CHAT_TEMPLATE


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_final_of_a_reward_model_scores_as_heed_score_does(place: Path, lora: dict[str, Any] | None) -> None:
    """The plain model reads the answer up to its end of turn, in a batch with padding after it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from heedful.models.saving import merge

    run = small_run(place, "reward", f"scores-{bool(lora)}", lora=lora)
    folder = merge(str(run), place / "merged-scores") if lora else run / "final"
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = load(str(score(str(run), str(place / "pairs.jsonl"), place / f"{run.name}.jsonl", device="cpu")))[:6]
    answers = [(e.prompt + r.messages, r.reward) for e in examples for r in e.responses]
    texts = [
        tokenizer.apply_chat_template([vars_of(m) for m in messages], tokenize=False).removesuffix("\n")
        for messages, _ in answers
    ]
    with torch.no_grad():
        found = model(**tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)).logits[:, 0]
    assert found.tolist() == pytest.approx([reward for _, reward in answers], abs=1e-5)


def vars_of(message: Any) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def test_a_template_of_the_users_stays_with_the_model(place: Path) -> None:
    from transformers import AutoTokenizer

    run = small_run(place, "sft", "chatml", template="chatml")
    tokenizer = AutoTokenizer.from_pretrained(run / "final")
    assert "<|im_start|>" in tokenizer.chat_template
    assert Template.load(tokenizer).source == Template.load(encoder_tokenizer(), "chatml").source
    again = small_run(place, "sft", "chatml-again", model=str(run))
    assert (
        json.loads((again / "data.json").read_text())["train"]["digest"]
        == (json.loads((run / "data.json").read_text())["train"]["digest"])
    )


# ---- steps that are not finite


def spoiled(monkeypatch: pytest.MonkeyPatch, at: set[int]) -> None:
    """Make the loss of these steps (from 0) not a number."""
    original = Loop.one_step

    def one_step(self: Loop, batch: Any) -> None:
        if self.trainer.step in at:
            for pack in batch.packs:
                pack.tokens["ref_logps"][:1] = float("nan")
        original(self, batch)

    monkeypatch.setattr(Loop, "one_step", one_step)


def test_a_step_that_is_not_finite_is_skipped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights stay as the step before left them, and which rows it had is written down."""
    spoiled(monkeypatch, {1})
    run = small_run(place, "dpo", "skipped", checkpoint_every=1, keep=4)
    marks = [row.get("skipped", False) for row in read_metrics(run / "metrics.jsonl")]
    assert marks == [False, True, False, False]
    one, two, three = (load_file(run / "checkpoints" / f"step-{n}" / "model.safetensors") for n in (1, 2, 3))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(two[name], three[name]) for name in two)
    (bad,) = [json.loads(line) for line in (run / "bad_steps.jsonl").read_text().splitlines()]
    assert bad["step"] == 2
    assert bad["loss"] is bad["grad_norm"] is None
    assert len(bad["rows"]) == 4
    assert all(row.startswith(str(place / "pairs.jsonl") + ":") for row in bad["rows"])


def test_too_many_of_them_end_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, {2, 3, 4, 5})
    for _ in range(2):  # the second continues from step 2, comes to the same end, and writes nothing twice
        with pytest.raises(RunError, match=r"2 steps in a row .*the last is step 4.* lr.* last checkpoint is .*step-2"):
            small_run(place, "dpo", "hopeless", steps=8, num_bad_steps=2)
        bad = [json.loads(line)["step"] for line in (place / "hopeless" / "bad_steps.jsonl").read_text().splitlines()]
        assert bad == [3, 4]
    assert not (place / "hopeless" / "final").exists()


def test_a_run_of_nothing_but_such_steps_fails_however_short(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, {0, 1})
    for _ in range(2):  # the second finds a run that came to its end, and says the same
        with pytest.raises(RunError, match=r"every step of the run had a loss .*the last is step 2"):
            small_run(place, "dpo", "none-finite", steps=2, num_bad_steps=3)
    assert not (place / "none-finite" / "final").exists()


def test_the_command_then_exits_with_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = small_config(place, "dpo", "wild", lr=1e30, **STEADY).model_dump(
        exclude_defaults=True, exclude={"objective"}
    )
    words = [f"{key}={'null' if value is None else value}" for key, value in wild.items()]
    assert main(["train", "dpo", *words]) == 1
    assert "heed: 3 steps in a row" in capsys.readouterr().err
