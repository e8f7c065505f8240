"""From passages to a cited answer: evidence or refusal, budget, prompt, citations, excerpts."""
