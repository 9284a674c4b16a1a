"""How many threads everybody gets. Import this before anything that starts threads: libraries read these
variables once.
"""

import os

THREADS = 2

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "DUCC0_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
):
    os.environ[_name] = str(THREADS)
# A library's idle threads must sleep, not spin on the processors that the other side of a race is using.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
