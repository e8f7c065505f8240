"""The web page: add PDFs, ask questions, see each cited page with the passage marked."""
