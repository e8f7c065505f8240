"""Questions to cited answers: retrieval, prompts, models, citations and conversations."""
