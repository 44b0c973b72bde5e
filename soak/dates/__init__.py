"""The tests that read a clock, on other days and in other zones."""
