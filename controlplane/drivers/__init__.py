"""What makes workers run: one small class per kind of worker."""
