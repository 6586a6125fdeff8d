"""How requests become batches, and how many threads compute them."""
