"""How long `import portanet` takes beside `import numpy`: python -m benchmarks.import_time

Fresh interpreters, the two by turns, so that a slow moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    """The time that one import takes in a new interpreter, without the interpreter's own start."""
    command = [sys.executable, "-c", TIMED.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    for module in ("numpy", "portanet"):  # once for the byte code and the disk
        seconds(module)
    started = time.perf_counter()
    pairs = [(seconds("numpy"), seconds("portanet")) for _ in range(repeats)]
    numpy_ms = 1000 * statistics.median([numpy for numpy, _ in pairs])
    over_ms = 1000 * statistics.median([portanet - numpy for numpy, portanet in pairs])
    ratio = statistics.median([portanet / numpy for numpy, portanet in pairs])
    print(f"import numpy {numpy_ms:.0f} ms; import portanet {over_ms:.0f} ms over it, {ratio:.2f} times as long")
    print(f"(medians of {repeats} pairs, {time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
