"""The bank: the ten questions in words, in English and Chinese. Content plus small readers; imports core only."""
