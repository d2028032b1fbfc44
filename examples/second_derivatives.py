"""A physics-informed network: solve u'' = f on [0, 1] with u(0) = u(1) = 0 by making a network obey the equation.

    python examples/second_derivatives.py [--backend cupy]

The loss holds the second derivative of the network with respect to its input; training differentiates that once more,
with respect to the parameters. f = -pi^2 sin(pi x), so the solution is u = sin(pi x).
"""

import argparse
import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tqdm import trange

import portanet as pn
from portanet import nn, optim
from portanet.autograd import grad

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--picture", default="second_derivatives.png")
args = parser.parse_args()

pn.set_backend(args.backend)
pn.manual_seed(0)
network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))


def u(x):
    """The network, bent so that both ends are 0 whatever it says."""
    return x * (1 - x) * network(x)


def derivative(y, x):
    """dy_i/dx_i of a column: no y_i depends on another x, so the gradient of the sum is the column of derivatives."""
    return grad(pn.sum(y), x, create_graph=True)[0]


x = pn.linspace(0.0, 1.0, 41)[:, None].requires_grad_()
f = (-(math.pi**2) * pn.sin(math.pi * x)).detach()
optimizer = optim.Adam(network.parameters(), lr=0.01)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)
for _ in trange(args.steps, unit="step"):
    optimizer.zero_grad()
    residual = derivative(derivative(u(x), x), x) - f
    loss = pn.mean(residual**2)
    loss.backward()
    optimizer.step()
    schedule.step()

exact = pn.sin(math.pi * x.detach())
error = pn.max(pn.abs(u(x).detach() - exact)).item()
print(f"mean squared residual {loss.item():.2e}, largest error of u {error:.1e}")
assert error < 0.01, "the network did not solve the equation"

points = x.detach().numpy()[:, 0]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.plot(points, u(x).detach().numpy(), linewidth=4, alpha=0.5, label="network")
left.plot(points, exact.numpy(), "k--", label="sin(pi x)")
left.set(xlabel="x", ylabel="u", title="u'' = -pi^2 sin(pi x)")
left.legend()
right.plot(points, residual.detach().numpy())
right.set(xlabel="x", ylabel="u'' - f", title="what is left of the equation")
figure.tight_layout()
figure.savefig(args.picture, dpi=120)
print(f"picture in {args.picture}")
