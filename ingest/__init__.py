"""PDFs to searchable passages: reading, splitting, embedding and storing."""
