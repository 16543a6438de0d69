"""What callers can do: one module per noun, declared as procedures and run by one pipeline."""
