"""Changes the core one small thing at a time and prints what its tests do not notice (`./dev mutate`)."""
