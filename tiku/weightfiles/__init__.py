"""Weight files smaller than plain safetensors, inside safetensors: entropy coded, halved, sparse."""
