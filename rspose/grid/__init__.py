"""The grid: config, cells, records, and fingerprints of what they depend on."""
