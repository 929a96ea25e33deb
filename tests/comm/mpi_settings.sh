# Sourced: makes Open MPI work as root, in containers, and with fewer cores than ranks.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none  # needs ptrace, which containers forbid
export OMPI_MCA_btl=self,vader,tcp                    # no search for InfiniBand, no warning about it
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS"  # Open MPI keeps what it allocates until the process ends
