"""From passages to a cited answer: agent, prompt, evidence budget, citations, quotes."""
