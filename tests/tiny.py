"""A tiny BERT classifier and tiny texts, made on the spot: small enough for every test to run an exam."""

from __future__ import annotations

import csv
import random
from pathlib import Path

GOOD = ("great", "lovely", "superb", "moving", "funny", "warm")
BAD = ("dull", "awful", "clumsy", "boring", "cold", "weak")
PLAIN = ("the", "film", "a", "plot", "with", "cast", "and", "music", "scene", "of", "it", "was")


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct sentences with their label: which of the two vocabularies they draw on."""
    draw, found = random.Random(seed), {}
    while len(found) < count:
        good = len(found) % 2 == 0
        words = draw.choices(PLAIN, k=draw.randint(3, 12)) + draw.choices(GOOD if good else BAD, k=2)
        draw.shuffle(words)
        found[" ".join(words)] = "good" if good else "bad"
    return list(found.items())


def write_csv(path: Path, count: int = 400, seed: int = 0) -> Path:
    """A CSV file with the columns text and label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(sentences(count, seed))
    return path


def write_model(
    folder: Path, *, steps: int = 60, labels: tuple[str, ...] = ("bad", "good"), hidden: int = 32
) -> Path:
    """A transformers folder: one-layer BERT, `hidden` wide, trained for some steps on other sentences."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *PLAIN, *GOOD, *BAD]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=hidden, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=64, id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    if steps:
        _train(model, tokenizer, labels, steps)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train(model: object, tokenizer: object, labels: tuple[str, ...], steps: int) -> None:
    import torch

    examples = sentences(600, seed=99)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)  # type: ignore[attr-defined]
    model.train()  # type: ignore[attr-defined]
    for step in range(steps):
        batch = [examples[(step * 16 + i) % len(examples)] for i in range(16)]
        inputs = tokenizer([t for t, _ in batch], padding=True, return_tensors="pt")  # type: ignore[operator]
        targets = torch.tensor([labels.index(label) for _, label in batch])
        loss = model(**inputs, labels=targets).loss  # type: ignore[operator]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
