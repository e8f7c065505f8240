"""The same library with buttons: drop PDFs in, ask, see the cited page with the passage marked."""
