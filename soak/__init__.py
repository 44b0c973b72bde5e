"""What is long and random: run by `make soak`, each part by its name."""
