"""OCR: reads pages that are pictures, and adds what it read to the stored copy as invisible text."""
