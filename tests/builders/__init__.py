"""What several test modules build their inputs with; no test module imports another."""
