"""Language models measured: perplexity, bits per byte, multiple choice by log-likelihood."""
