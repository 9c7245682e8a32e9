"""Classic experiments on initialization, reproduced by one command: python -m benchmarks.experiments."""

import os

NAMES = ("depth", "verdicts", "moons", "circles", "layer", "mnist", "formulas")  # in the order of the report

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets every process that loads it
