"""What to do: pure functions. Nothing here waits, reads a clock, draws a random number or opens a transaction."""
