"""A house's price from its floor area, the label of its area, its rooms and whether it has a fenced garden.

    PORTANET_DATA=/data python examples/houses.py [--backend cupy]

With PORTANET_DATA set it reads 2,930 real sales in Ames, Iowa (De Cock 2011) from houses/AmesHousing.csv there;
without, it makes up 400 houses and says so. It compares features chosen by hand with features that a network learns.
"""

import argparse
import csv
import io
import os
from pathlib import Path

import portanet as pn
from portanet import data, metrics, nn, optim, random, training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=60)
args = parser.parse_args()

pn.set_backend(args.backend)
pn.manual_seed(0)


def sales():
    """Rows of floor area in m2, area label, rooms, garden, price in dollars."""
    if "PORTANET_DATA" in os.environ:
        with open(Path(os.environ["PORTANET_DATA"]) / "houses" / "AmesHousing.csv", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                area = round(float(row["Gr Liv Area"]) * 0.092903, 1)  # square feet to m2
                fenced = "no" if row["Fence"] == "NA" else "yes"
                yield area, row["Neighborhood"], row["TotRms AbvGrd"], fenced, row["SalePrice"]
        return
    print("PORTANET_DATA is not set: these 400 houses are made up.")
    luck = random.normal((400,)).tolist()
    for i, (u, v, w) in enumerate(random.uniform((400, 3)).tolist()):
        area, label, garden = 50 + 150 * u, ["old town", "river", "hill"][int(3 * v)], w > 0.5
        price = 1100 * area * {"old town": 1.0, "river": 1.5, "hill": 2.0}[label] + 15000 * garden + 8000 * luck[i]
        yield round(area, 1), label, int(area / 25), "yes" if garden else "no", round(price)


text = io.StringIO()
csv.writer(text).writerows([("area_m2", "label", "rooms", "garden", "price"), *sales()])
text.seek(0)
table = data.read_table(text, target="price", standardize_target=True)
print(
    f"{len(table.features)} houses, {len(table.feature_names)} numbers each: {', '.join(table.feature_names[:5])}, ..."
)

dataset = data.TensorDataset(table.features, table.target)
train_set, test_set = data.random_split(dataset, [0.8, 0.2])
x, y = next(iter(data.DataLoader(test_set, batch_size=len(test_set))))
width = table.features.shape[1]


class ByHand(nn.Linear):
    """y(x, w) = sum_j w_j phi_j(x): the features phi are the inputs, and the area times each of them."""

    def forward(self, x):
        return super().forward(pn.concat([x, x[:, :1] * x], axis=1))


models = {
    "features chosen by hand": ByHand(2 * width, 1),
    "features learned": nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)),
}
for name, model in models.items():
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.02)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    batches = data.DataLoader(train_set, batch_size=64, shuffle=True)
    training.fit(model, nn.SmoothL1Loss(), optimizer, batches, epochs=args.epochs, scheduler=schedule)
    with pn.no_grad():
        guess, truth = table.restore_target(model(x)), table.restore_target(y)
    error = metrics.mean_absolute_error(guess, truth)
    print(f"{name:24} R2 {metrics.r2_score(guess, truth):.3f}, mean error {error:,.0f} dollars on houses not seen")
