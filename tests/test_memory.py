"""Memory that a step frees is kept for the next one, so that its pages need not be asked for again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS = """
import resource
import numpy
{first}

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [numpy.ones(5 << 20, numpy.uint8) for _ in range(20)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


USED = "import portanet; portanet.ones(1) + 1"


def faults_of_the_second_round(first: str, **environment: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", ROUNDS.format(first=first)], env=environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back between steps")
def test_freed_memory_is_used_again_without_a_fault():
    assert faults_of_the_second_round(USED) < 100
    assert faults_of_the_second_round(USED, MALLOC_TRIM_THRESHOLD_="0") > 1000  # the user's word counts
