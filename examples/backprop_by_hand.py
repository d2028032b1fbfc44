"""The lecture's chain rule, written out for two layers, next to what the tape computes: equal to 1e-12.

python examples/backprop_by_hand.py [--backend cupy]
"""

import argparse

import portanet as pn
from portanet import random
from portanet.nn import functional as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
args = parser.parse_args()

if args.backend.startswith("jax"):
    import jax

    jax.config.update("jax_enable_x64", True)  # JAX has float64 only when asked before its first array
pn.set_backend(args.backend, dtype=pn.float64)
pn.manual_seed(0)

N, D, M, K = 20, 3, 5, 2  # examples, inputs, hidden units, outputs
x = random.normal((N, D))
y = random.normal((N, K))
W1, b1 = random.normal((M, D)).requires_grad_(), random.normal((M,)).requires_grad_()
W2, b2 = random.normal((K, M)).requires_grad_(), random.normal((K,)).requires_grad_()

# Forward: layer 1, hidden units, layer 2, loss.
z1 = x @ W1.T + b1  # pre-activations a_j = sum_i w_ji x_i + b_j
h = pn.tanh(z1)  # hidden units h_j = sigma(a_j)
z2 = h @ W2.T + b2  # K linear combinations of the h_j
L = F.mse_loss(z2, y)  # (1 / NK) sum_i ||z2_i - y_i||^2

# Backward by the tape: it remembers the operations above and walks them backwards.
L.backward()

# Backward by hand: from the loss through z2, W2, the activation, z1, W1. No tape: these are constants.
with pn.no_grad():
    dz2 = 2 * (z2 - y) / (N * K)  # dL/dz2
    dW2 = dz2.T @ h  # z2 = h W2^T + b2: each weight meets its hidden unit
    db2 = pn.sum(dz2, axis=0)
    dh = dz2 @ W2  # ... and each hidden unit its weights
    dz1 = dh * (1 - h**2)  # sigma' = 1 - tanh^2
    dW1 = dz1.T @ x
    db1 = pn.sum(dz1, axis=0)

worst = 0.0
print(f"loss {L.item():.12f}")
for name, parameter, by_hand in [("W2", W2, dW2), ("b2", b2, db2), ("W1", W1, dW1), ("b1", b1, db1)]:
    gap = pn.max(pn.abs(parameter.grad - by_hand)).item()
    worst = max(worst, gap)
    print(f"dL/d{name}: shape {by_hand.shape!s:8} largest difference tape - hand {gap:.1e}")
assert worst < 1e-12, "the tape and the chain rule disagree"
print("the tape computed the lecture's chain rule")
