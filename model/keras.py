"""The only place that imports Keras: `from model.keras import keras, tf`.

Keras 2 (tf-keras), because tfmot and keras-cv refuse Keras 3 models.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
import tf_keras as keras

if "tf_keras" not in tf.keras.Model.__module__:
    # tensorflow.keras is resolved once a process, so a tensorflow used earlier has already chosen.
    raise ImportError("model.keras: Keras 2 is needed, got Keras 3; import model.keras before tensorflow.keras is used")

tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
