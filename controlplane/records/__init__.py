"""What exists: frozen records without behaviour and without input or output."""
