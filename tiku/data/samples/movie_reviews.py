"""10,568 sentences of film reviews."""

from tiku.core.text import Text
from tiku.data.samples._vader import rated_texts

__all__ = ["SAMPLE"]

SAMPLE = rated_texts(
    "movie-reviews",
    Text("sentences of film reviews, positive or negative", "电影评论句子，正面或负面"),
    "movieReviewSnippets",
    grouped=False,
)
