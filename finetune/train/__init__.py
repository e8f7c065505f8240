"""Training with SFT and preference losses (DPO, KTO, ORPO ...), from settings to a finished run."""
