"""Side by side with what else one could pick, each pair in one run on one machine. `make bench` runs it."""
