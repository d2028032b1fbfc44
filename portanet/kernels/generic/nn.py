"""Kernels of nn."""
