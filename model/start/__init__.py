"""What a network can begin with: weights that others trained on millions of pictures.

A file here holds convolutions with their batch norm folded in, float16, as {layer}/kernel and {layer}/bias under the
names our layers have. `benchmarks/start_weights.py` makes it from its origin, `begin` gives it to a network.
"""
