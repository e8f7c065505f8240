"""Text analysis for all packages: words and stems, sentences, table rows, language, chunks."""
