"""Reading the pages of a PDF, and showing places on them."""
