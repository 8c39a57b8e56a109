"""Programs are run here, and nowhere else."""
