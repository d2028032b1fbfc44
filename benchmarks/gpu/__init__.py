"""How fast portanet is on one GPU, beside PyTorch and JAX there: python -m benchmarks --backend cupy"""
