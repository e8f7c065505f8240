"""Language models: one module for each kind, the table of kinds, and which models are available."""
