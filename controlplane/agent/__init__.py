"""The process on every edge node that makes its own node match what is wanted, and reports."""
