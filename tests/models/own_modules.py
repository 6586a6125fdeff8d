"""Functions that a user could name as module:function, right and wrong."""

import numpy as np
import torch
import transformers

from tests.models.architectures import config, module, tokenizer
from tiku.core.subject import Subject


class Letters:
    """Text to counts of letters; `scale` is learned and kept."""

    task = "text-classification"

    def __init__(self, scale=1):
        self.scale = scale

    def encode(self, inputs, max_length):
        return [{"counts": [self.scale * text.count(c) for c in "abcdefgh"]} for text in inputs]

    def collate(self, encodings):
        return {"counts": np.asarray([e["counts"] for e in encodings], dtype=np.float32)}

    def save(self, folder):
        (folder / "scale.txt").write_text(str(self.scale))

    def load(self, folder):
        return type(self)(int((folder / "scale.txt").read_text()))


class Net(torch.nn.Module):
    def __init__(self, classes, dtype=torch.float32):
        super().__init__()
        self.layer = torch.nn.Linear(8, classes, dtype=dtype)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, counts):
        return self.drop(self.layer(counts.to(self.layer.weight.dtype)))


def plain():
    return Net(2), Letters(3)


def with_labels(labels):
    return Net(len(labels)), Letters()


def half():
    return Net(2, torch.bfloat16), Letters()


def named():
    processor = Letters()
    processor.labels = ("no", "yes")
    return Net(2), processor


def tied():
    net = Net(8)
    net.again = net.layer
    return net, Letters()


def classifier():
    names = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
    return module("AutoModelForSequenceClassification", "bert", **names), tokenizer()


def language_model():
    return module("AutoModelForCausalLM", "llama", bos_token_id=None), tokenizer(pad=False, frame=False)


def ready():
    return Subject("text-classification", "torch-module", Net(2), Letters(), labels=("no", "yes"))


def raises():
    raise ZeroDivisionError("no weights today")


def leaves():
    raise SystemExit(3)


def returns_nothing():
    return None


def no_processor():
    return Net(2)


def no_module():
    return "net", Letters()


def no_task():
    processor = Letters()
    processor.task = "text-clasification"
    return Net(2), processor


def no_collate():
    class Half:
        task = "text-classification"

        def encode(self, inputs, max_length):
            return []

    return Net(2), Half()


def not_finite():
    net = Net(2)
    net.layer.weight.data[0, 0] = float("nan")
    return net, Letters()


def masked():
    return transformers.BertForMaskedLM(config("bert")), tokenizer()


NUMBER = 3
