"""From records to tables and figures. Needs no torch, no checkpoint and no dataset."""
