"""Paths, links and uploads, and the PDFs stored from them."""
