"""The only room that talks to LLMs: asking the candidates of a pool, and judging what they answered."""
