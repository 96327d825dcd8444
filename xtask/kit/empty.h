/* Intrinsics of the host's compiler: a driver's bindings have no use for them. */
