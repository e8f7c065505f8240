"""The library: one contract, kept by an embedded store and by Weaviate."""
