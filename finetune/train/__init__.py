"""Training: SFT and preference losses, from settings to a finished run."""
