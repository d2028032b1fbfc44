"""fft on Tensors."""
