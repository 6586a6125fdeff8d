"""Product reviews: a domain shift for models trained on movie-reviews."""

from tiku.core.text import Text
from tiku.data.samples._vader import rated_texts

__all__ = ["SAMPLE"]

SAMPLE = rated_texts(
    "movie-reviews-amazon",
    Text(
        "sentences of product reviews: domain shift for movie-reviews",
        "商品评论句子：movie-reviews 的域偏移集",
    ),
    "amazonReviewSnippets",
    grouped=True,
)
