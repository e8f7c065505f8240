"""From a question to ranked passages: search, page ranking, relevance."""
