"""What a network can begin with: weights that others trained on millions of pictures. No TensorFlow.

A file here holds convolutions with their batch norm folded in, as {layer}/kernel and {layer}/bias, float16, under the
names our layers have; `benchmarks/` knows nothing of it, `model.start.remake` makes it from its origin.
"""
