"""Kernels of special."""
