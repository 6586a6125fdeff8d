"""A small classifier whose blocks all change the stream: of six kinds of words the most frequent decides."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import models, pre_tokenizers, processors

from tests.tiny import GOOD, PLAIN
from tiku.core.data import Splits
from tiku.core.method import Context
from tiku.core.protocol import protocol_for
from tiku.core.subject import Subject
from tiku.data.labelled_texts import LabelledTexts
from tiku.training.driving import sealed

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *PLAIN, *GOOD)


def counted(count: int, seed: int) -> LabelledTexts:
    """Sentences with words of six kinds among others; the class is the most frequent kind."""
    draw, texts, labels = random.Random(seed), [], []
    for _ in range(count):
        label = draw.randrange(len(GOOD))
        words = [*draw.choices(PLAIN, k=draw.randint(2, 6)), *[GOOD[label]] * 3]
        words += [word for word in GOOD if word != GOOD[label] for _ in range(draw.randint(0, 2))]
        draw.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label)
    return LabelledTexts("counted", tuple(texts), np.array(labels, dtype=np.int64), GOOD)


def context(workdir: Path, *, seed: int = 0, count: int = 1000) -> Context:
    train, judged = counted(count, 100 + seed), counted(500, 200 + seed)
    splits = Splits("counted", train, judged, judged, judged.take([]), seed=seed)
    return Context((splits,), protocol_for("quick", seed=seed, threads=1, device="cpu"), workdir)


def trained(seed: int, *, layers: int = 4, steps: int = 100) -> Subject:
    """A BERT classifier that has learnt the task."""
    core = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=32,
    )  # fmt: skip
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=64, initializer_range=0.2, max_position_embeddings=32, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, id2label=dict(enumerate(GOOD)),
        label2id={name: i for i, name in enumerate(GOOD)},
    )  # fmt: skip
    with sealed("cpu", 1):
        torch.manual_seed(seed)
        module = transformers.BertForSequenceClassification(config)
        _learn(module, tokenizer, counted(2000, seed), steps)
    subject = Subject("text-classification", "text-classification", module.eval(), tokenizer)
    return replace(subject, labels=GOOD)


def accuracy(subject: Subject, data: LabelledTexts) -> float:
    """Share of right answers."""
    return float(right(subject, data).mean())


def right(subject: Subject, data: LabelledTexts) -> NDArray[np.float64]:
    """1 for each right answer."""
    encoded = subject.processor(list(data.texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        answers = subject.module(**encoded).logits.argmax(1).numpy()
    return np.asarray(answers == data.labels, dtype=np.float64)


def _learn(module: torch.nn.Module, tokenizer: object, data: LabelledTexts, steps: int) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
    inputs = tokenizer(list(data.texts), padding=True, return_tensors="pt")  # type: ignore[operator]
    targets = torch.from_numpy(data.labels)
    module.train()
    for step in range(steps):
        rows = torch.arange(step * 32, step * 32 + 32) % len(targets)
        output = module(**{name: tensor[rows] for name, tensor in inputs.items()}, labels=targets[rows])
        output.loss.backward()
        optimiser.step()
        optimiser.zero_grad()
