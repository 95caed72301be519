"""Token arrays in, score logits out: ONNX Runtime by default, torch as the same function."""
