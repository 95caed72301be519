"""Prompts in, predicted scores `(n_prompts, n_candidates)` out."""
