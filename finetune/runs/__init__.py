"""The run folder: its manifest, who may write it, scratch space."""
