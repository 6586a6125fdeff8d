"""The bank: the ten questions in words, in English and Chinese. Imports core only."""
