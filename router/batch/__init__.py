"""Batches: files that were uploaded, jobs that ingest them, rows that become events."""
