"""The table of a network as small as any with each kind of convolution: for tests that train in processes."""

TABLE = {
    "name": "tiny",
    "size": [64, 64],
    "rows": [
        {"name": "l1", "op": "conv", "out": 8, "k": 3, "s": 2},
        {"name": "l2", "op": "separable", "out": 16, "k": 3, "s": 2},
        {"name": "l3", "op": "mbconv", "out": 16, "k": 3, "s": 2},
        {"name": "l4", "op": "detect", "anchors": [[12, 12], [24, 24]]},
    ],
}
