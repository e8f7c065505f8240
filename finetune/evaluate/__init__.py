"""What a run is worth: scores, comparisons, samples."""
