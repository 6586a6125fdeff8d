"""A model whose blocks stay on disk answers as the whole one does, and takes less memory."""

from __future__ import annotations

import mmap
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tiku.artefact import open_artefact, verify, write
from tiku.core.errors import ArtefactError
from tiku.core.recipe import Recipe
from tiku.core.subject import Numerics, Subject
from tiku.measure.memory import probe
from tiku.methods.memory.half_weights import HalfWeights
from tiku.methods.memory.layer_streaming import LayerStreaming
from tiku.methods.quantize.bfloat16 import BFloat16
from tiku.runtimes._disk_reading import PAGE, DiskFile, Residency, whole_pages
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

MEGA = 1_000_000
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def decoder(layers: int = 5, hidden: int = 32, tied: bool = False) -> Subject:
    subject = tiny_language_model()
    config = transformers.LlamaConfig(
        vocab_size=len(subject.processor), hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, intermediate_size=4 * hidden,
        max_position_embeddings=256, tie_word_embeddings=tied, pad_token_id=0,
    )  # fmt: skip
    return replace(subject, module=transformers.LlamaForCausalLM(config).eval())


def encoder() -> Subject:
    subject = tiny_classifier()
    config = transformers.BertConfig.from_dict({**subject.module.config.to_dict(), "num_hidden_layers": 5})
    return replace(subject, module=transformers.BertForSequenceClassification(config).eval())


def built(subject: Subject, folder: Path) -> Path:
    write(subject, folder, recipe=Recipe(), examples=tiny_texts(4))
    return folder


def streamed(subject: Subject, folder: Path, resident: int = 0) -> Path:
    method = LayerStreaming(resident)
    assert method.supports(subject)
    return built(method.apply(subject, tiny_context(folder.parent)), folder)


@pytest.mark.parametrize("resident", [0, 2])
@pytest.mark.parametrize("make", [decoder, lambda: decoder(tied=True), encoder])
def test_the_answers_are_those_of_the_whole_model(make: Any, resident: int, tmp_path: Path) -> None:
    subject = make()
    opened = open_artefact(streamed(subject, tmp_path / "a", resident), threads=1)
    for seed in range(3):  # a second pass begins where the first one left the buffers
        ids = torch.randint(0, 20, (2, 9), generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            whole = subject.module(input_ids=ids).logits.numpy()
        assert np.array_equal(opened.session.run({"input_ids": ids.numpy()}), whole)
    opened.close()


def test_a_continuation_token_by_token_is_the_whole_models(tmp_path: Path) -> None:
    subject = decoder()
    texts = ["the film was", "a"]
    whole, parts = (
        open_artefact(folder, threads=1)
        for folder in (built(subject, tmp_path / "a"), streamed(subject, tmp_path / "b"))
    )
    assert parts.generate(texts, 12) == whole.generate(texts, 12)
    whole.close()
    parts.close()


def test_half_stored_blocks_are_widened_while_they_are_read(tmp_path: Path) -> None:
    subject = HalfWeights().apply(decoder(), tiny_context(tmp_path))
    opened = open_artefact(streamed(subject, tmp_path / "a"), threads=1)
    ids = np.arange(12).reshape(2, 6)
    with torch.inference_mode():
        whole = subject.module(input_ids=torch.from_numpy(ids)).logits.numpy()
    assert np.array_equal(opened.session.run({"input_ids": ids}), whole)
    opened.close()


def test_the_artefact_opens_without_tiku(tmp_path: Path) -> None:
    report = verify(streamed(decoder(), tmp_path / "a"))
    assert report.ok and report.without_tiku, report


def test_blocks_that_are_not_in_the_files_are_told(tmp_path: Path) -> None:
    folder = streamed(decoder(), tmp_path / "a")
    path = folder / "model" / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"layers.3.mlp.up_proj", b"layers.3.mlp.ap_proj"))
    with pytest.raises(ArtefactError, match="do not hold the layers"):
        open_artefact(folder, check_hashes=False)


def test_what_cannot_be_streamed_is_refused_with_its_reason() -> None:
    assert "two buffers" in LayerStreaming().supports(tiny_classifier()).reason.en
    assert "two buffers" in LayerStreaming(3).supports(decoder()).reason.en
    other = replace(decoder(), numerics=Numerics("int8-static"))
    assert "has no int8-static layers" in LayerStreaming().supports(other).reason.en
    folded = replace(decoder(), runtime_options={"fold_qkv": "all"})
    assert "not in the files" in LayerStreaming().supports(folded).reason.en
    assert "onnxruntime" in LayerStreaming().supports(replace(decoder(), runtime="onnxruntime")).reason.en


@linux
def test_a_fresh_process_takes_less_than_the_weights(tmp_path: Path) -> None:
    subject = decoder(layers=12, hidden=384)
    weights = sum(4 * p.numel() for p in subject.module.parameters())
    assert weights > 90 * MEGA
    block = weights / 12
    folders = built(subject, tmp_path / "a"), streamed(subject, tmp_path / "b")
    text = [" ".join(tiny_texts(10))]
    with ThreadPoolExecutor(2) as pool:
        whole, parts = pool.map(lambda f: probe(f, text, context=32, decode_tokens=3, threads=1), folders)
    saved = whole.peak - parts.peak
    assert saved > weights - 4.5 * block  # two buffers, what is not repeated, and the allocator's own


def test_sixteen_bit_blocks_are_multiplied_as_they_are_read(tmp_path: Path) -> None:
    subject = BFloat16().apply(decoder(), tiny_context(tmp_path))
    opened = open_artefact(streamed(subject, tmp_path / "a"), threads=1)
    ids = np.arange(12).reshape(2, 6)
    with torch.inference_mode():
        whole = subject.module(input_ids=torch.from_numpy(ids)).logits.float().numpy()
    assert np.array_equal(opened.session.run({"input_ids": ids}), whole)
    opened.close()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="cannot empty the file cache")
@pytest.mark.parametrize("in_cache", [True, False])
def test_pages_are_those_of_the_file_in_the_cache_and_past_it(in_cache: bool, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(9_000_123)  # three requests, the last not whole
    path = tmp_path / "file"
    on_disk(path, content)
    if in_cache:
        path.read_bytes()
    file = DiskFile(path)
    start, end = whole_pages(5000, len(content))
    assert (start, end % PAGE) == (4096, 0)
    with mmap.mmap(-1, end - start) as pages:
        file.read(start, memoryview(pages))
        assert pages[: len(content) - start] == content[start:]
    with mmap.mmap(-1, 3 * PAGE) as pages:
        several = memoryview(pages)
        file.read_all([(8 * PAGE, several[:PAGE]), (2 * PAGE, several[PAGE:])])
        several.release()
        assert pages[:] == content[8 * PAGE : 9 * PAGE] + content[2 * PAGE : 4 * PAGE]
    file.close()


def on_disk(path: Path, content: bytes) -> None:
    """Written, and gone from the system's cache."""
    path.write_bytes(content)
    with path.open("rb") as written:
        os.fsync(written.fileno())
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_from_disk() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


@linux
def test_the_disk_gives_each_byte_once(tmp_path: Path) -> None:
    """Asking the cache by a read that may not wait made it fetch what was then read past it as well."""
    size = 32 << 20
    on_disk(tmp_path / "file", random.Random(0).randbytes(size))
    before = read_from_disk()
    file = DiskFile(tmp_path / "file")
    with mmap.mmap(-1, size) as pages:
        file.read(0, memoryview(pages))
    file.close()
    if not (read := read_from_disk() - before):
        pytest.skip("a file system without a disk, or the kernel does not count")
    assert size <= read < 1.1 * size


@linux
def test_the_cache_is_known_page_by_page(tmp_path: Path) -> None:
    on_disk(tmp_path / "file", bytes(64 * PAGE + 1))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        residency = Residency(file.fileno(), 64 * PAGE + 1)
        if residency.has(0, 64 * PAGE + 1):
            pytest.skip("a file system that keeps everything in memory")
        os.pread(file.fileno(), 2 * PAGE, 8 * PAGE)
        assert residency.has(8 * PAGE, 2 * PAGE)
        assert residency.pages(0, 64 * PAGE + 1).nonzero()[0].tolist() == [8, 9]
        os.pread(file.fileno(), 1, 64 * PAGE)
        assert residency.has(64 * PAGE, 1)
        residency.close()
        assert not residency.pages(8 * PAGE, PAGE).size


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * PAGE))
    file = DiskFile(path)
    os.truncate(path, PAGE)
    with mmap.mmap(-1, 3 * PAGE) as pages, pytest.raises(ArtefactError, match="became shorter"):
        file.read(0, memoryview(pages))
    file.close()
