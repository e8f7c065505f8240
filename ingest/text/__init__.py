"""The only text analysis of the project: words, sentences, languages and chunks."""
