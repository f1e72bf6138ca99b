"""Hands a training to its process: the job's folder, checkpoint and claim."""
