"""What every test needs: quiet libraries, Keras 3, properties that fail everywhere or nowhere."""

import os

from hypothesis import settings

# Before anything imports TensorFlow: its import of Keras reads this once.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "agg"

# A property fails on every machine or on none, and never for being slow.
settings.register_profile("vitpipe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vitpipe")
