"""One file per sample; each exports `SAMPLE`. Listing them imports nothing heavy and fetches nothing."""
