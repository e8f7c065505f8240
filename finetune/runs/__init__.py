"""The run folder: its manifest, the lock of the process that trains, and temporary folders."""
