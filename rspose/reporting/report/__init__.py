"""The report: one HTML file with the tables, charts, and what is known of every cell."""
