"""Merging: the weights of several models of one architecture become one model.

Two other things are called fusion: operator fusion in a runtime (the parameter `fusion` of the methods
onnxruntime and openvino), and layer folding inside one model (`fuse`).
"""
