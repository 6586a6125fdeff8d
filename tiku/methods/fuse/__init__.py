"""Layer folding: what layers compute one after the other or side by side, put into fewer layers.

Two other things are called fusion. Operator fusion is done by a runtime when it opens a graph (the
parameter `fusion` of the methods onnxruntime and openvino). Several models become one in `merge`.
"""
