"""What is put first on the Python path of router and proxy workers; not for import by anybody else."""
