"""What is long and random: run by `python -m soak`, and no part of the tests."""
