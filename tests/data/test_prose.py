from tiku.data.prose import Prose


def test_pieces_put_together_again_are_the_documents_they_were_cut_from():
    texts = ("One sentence. Another one!\n\nA new paragraph? Yes. " * 20, "没有空格的中文文本。" * 60)
    whole = Prose("made", texts, ("a", "b"))
    pieces = whole.passages(50)
    assert len(pieces) > 20 and pieces.cut
    assert pieces.whole() == whole


def test_a_run_of_pieces_gives_the_stretch_of_text_they_stood_for():
    whole = Prose("made", ("One. Two. Three. Four. Five. Six. Seven. Eight. " * 10,), ("a",))
    pieces = whole.passages(40)
    (stretch,) = pieces.take([2, 3, 4]).whole().documents
    assert stretch in whole.documents[0] and stretch == "".join(pieces.documents[2:5])


def test_documents_of_one_title_that_were_never_cut_stay_apart():
    rows = Prose("made", ("first row", "second row"), ("same", "same"))
    assert rows.whole() is rows
