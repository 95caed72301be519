"""A saved predictor on disk: its layout and its model card."""
