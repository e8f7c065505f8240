"""SFT and preference training, from a loaded base to a finished run."""
