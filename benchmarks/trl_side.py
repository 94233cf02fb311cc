"""TRL's side: its trainers as their users run them, with a callback for a clock.  Nothing of TRL is patched."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.corpus import BATCH, MAX_LENGTH, Corpus
from benchmarks.settings import CLIP, LR, THEIRS, clock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")


@dataclass
class TrlRun:
    """One trainer, prepared but not begun.

    precompute: reference log-probabilities before training (TRL keeps them on disk, under `work`) instead of a second
    model that runs in every step, which is its default.
    setup_s: seconds that making the trainer took, tokenising and precomputing included where they were not cached.
    """

    corpus: Corpus
    objective: str
    work: Path
    precompute: bool = False
    log_every_step: bool = False
    batch: int = BATCH
    setup_s: float = field(init=False)
    logs: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        from datasets import load_dataset
        from transformers import PrinterCallback

        trainer_class, config_class = _classes(self.objective)
        arguments: dict[str, Any] = {
            "output_dir": str(self.work / "trl"),
            "per_device_train_batch_size": self.batch * (2 if self.objective == "kto" else 1),
            "num_train_epochs": 1,
            "max_length": MAX_LENGTH,
            "learning_rate": LR,
            "max_grad_norm": CLIP,
            "train_sampling_strategy": "sequential",
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **THEIRS.get(self.objective, {}),
        }
        if self.log_every_step:
            arguments["logging_steps"] = 1
        if self.objective in ("dpo", "kto"):
            arguments["precompute_ref_log_probs"] = self.precompute
        data = load_dataset(
            "json",
            data_files=str(self.corpus.trl(self.objective)),
            split="train",
            cache_dir=str(self.work / "datasets"),
        )
        self.timer = _timer()
        model, tokenizer = _load(str(self.corpus.model(self.objective)), self.objective)
        if self.objective in THEIRS:
            tokenizer.bos_token = None  # the CPOTrainer would put one before the template's first token
        began = clock()
        self.trainer = trainer_class(
            model=model,
            args=config_class(**arguments),
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=[self.timer],
        )
        self.setup_s = clock() - began
        self.trainer.remove_callback(PrinterCallback)

    def train(self) -> float:
        """`trainer.train()` from its first to its last step, in seconds; its own set-up is left out."""
        self.trainer.train()
        self.logs = [row for row in self.trainer.state.log_history if "loss" in row]
        return self.timer.seconds


def _classes(objective: str) -> tuple[Any, Any]:
    import trl

    if objective in THEIRS:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        return CPOTrainer, CPOConfig
    return {
        "sft": lambda: (trl.SFTTrainer, trl.SFTConfig),
        "reward": lambda: (trl.RewardTrainer, trl.RewardConfig),
        "dpo": lambda: (trl.DPOTrainer, trl.DPOConfig),
        "kto": lambda: (trl.KTOTrainer, trl.KTOConfig),
    }[objective]()


def _load(path: str, objective: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    auto = AutoModelForSequenceClassification if objective == "reward" else AutoModelForCausalLM
    return auto.from_pretrained(path, dtype=torch.float32), AutoTokenizer.from_pretrained(path)


def _timer() -> Any:
    from transformers import TrainerCallback

    class Timer(TrainerCallback):
        seconds = 0.0

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began = clock()

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            self.seconds = clock() - self.began

    return Timer()
