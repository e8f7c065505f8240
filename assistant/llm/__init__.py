"""Language models: one module for each kind, and the table that finds them by name."""
