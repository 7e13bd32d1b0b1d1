"""Pictures, widgets, predictions and checks for the lessons. Importing this package does nothing else."""
