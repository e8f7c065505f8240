"""The command `quire`, and the little that all packages share."""
