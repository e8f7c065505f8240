"""What was given to files on this disk: paths, links, uploads and the stored PDFs."""
