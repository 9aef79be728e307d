"""The model card beside a file: what it is, what it learned from, how good it is, and what nobody tried."""
