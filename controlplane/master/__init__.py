"""The process that keeps what is wanted and sees to it."""
