"""Data sets of many formats to records: files, folders, and data sets of the Hugging Face hub."""
