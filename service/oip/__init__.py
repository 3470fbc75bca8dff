"""The Open Inference Protocol V2: tensors in, tensors out."""
