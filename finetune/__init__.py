"""A data set to a model tag: data, templates, training, export."""

import os

# TRL's trainers report each run to the hub in the background; its library reads this when it is loaded
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
