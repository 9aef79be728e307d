"""The stages. Each is ``python -m pipeline.NAME``, and reads and writes directories of a run (`pipeline.store`)."""
