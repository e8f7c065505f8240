"""OCR: reads pages that are pictures, and writes what it read as invisible text into the stored copy."""
