"""Training and quantization one after the other in one process of several: ``two_stages.py TRAIN_OPTIONS``.

As a program that uses the Python API does; the quantization is of the run that the training made.
"""

from __future__ import annotations

import sys

from micro_yolo.pipeline import qat, train
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Screen

config = cli.parse(train.Config, prog=train.PROG, args=sys.argv[1:])
with Screen("stdout") as show:
    train.tell(train.run(config, show), show)
    recipe = Recipe(epochs=2, plain_epochs=2, warmup_epochs=0.0)
    qat.run(qat.Config(run=config.run, batch=config.batch, recipe=recipe, samples=4, distill=1.0))
