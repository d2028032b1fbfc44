"""special on Tensors."""
