"""What people work with: benches, plans, checks of a loss, comparisons, pages made from code."""
