"""Torch modules that know tensors, and neither files nor candidate names.

`configuration` is importable without torch: the base install reads a saved predictor's
`config.json` with it.
"""
