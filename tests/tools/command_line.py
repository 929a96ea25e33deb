"""What the tests of the programs' command lines share: the programs, and how they are run. The two come as arguments:

    ANY_test.py SLUICE SLUICE_DATA
"""

import os
import subprocess
import sys

SLUICE, SLUICE_DATA = (os.path.abspath(path) for path in sys.argv[1:3])
ENVIRONMENT = dict(
    os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl_vader_single_copy_mechanism="none",
    # Other tests run beside: ranks that wait let them, and none is bound to a core that has one.
    OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_hwloc_base_binding_policy="none",
)


def run(*arguments, ranks=0, program=SLUICE, timeout=120, threads=0):
    """(exit code, standard output, standard error); `ranks` of them under mpirun, 0: alone, without it; each with `threads`, 0: as it
    chooses. `timeout` in seconds."""
    command = ["mpirun", "-n", str(ranks)] if ranks else []
    done = subprocess.run(
        [*command, program, *map(str, arguments)], env=ENVIRONMENT | ({"OMP_NUM_THREADS": str(threads)} if threads else {}), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr
