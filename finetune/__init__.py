"""A data set to a model tag: data, templates, training, export."""
