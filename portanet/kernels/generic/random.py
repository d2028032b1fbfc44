"""Kernels of random."""
