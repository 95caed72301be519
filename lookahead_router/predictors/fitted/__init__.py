"""What Lookahead must beat: predictors that know the prompt, or not even that. See `base.py` and `registry.py`."""
