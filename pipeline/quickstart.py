"""The former name of `pipeline.demo`."""

from __future__ import annotations

from micro_yolo.pipeline.demo import main

if __name__ == "__main__":
    main()
