"""Wiki markup to prose: what stays, what goes, and dumps as they are exported."""

import io

import pytest

from tiku.data.wikitext import articles, plain


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("'''Bold''' and ''italic'' and '''''both'''''.", "Bold and italic and both."),
        ("A [[link]], a [[page|label]], a [[page#part]], [[many]]s.", "A link, a label, a page, manys."),
        ("[https://a.org A site] and https://b.org here.", "A site and here."),
        ("Text.<ref>Note [[x]] {{cite|y}}</ref> More.<ref name=a /> End.", "Text. More. End."),
        ("Seen.<!-- hidden\n\n comment --> Yes.", "Seen. Yes."),
        ("[[File:a.jpg|thumb|A [[nested]] caption]]Real text.", "Real text."),
        ("[[Category:Things]]\nReal text.", "Real text."),
        ("[[de:Seite]]\nReal text.", "Real text."),
        ("{{Infobox|name={{x|y}}|[[a]]}}\nReal text.", "Real text."),
        ("It is {{convert|5|km|mi}} and {{convert|3|to|5|kg|lb}}.", "It is 5 km and 3 to 5 kg."),
        (
            "The {{lang|la|verbum}} and {{nowrap|two words}} {{circa}} 1900.",
            "The verbum and two words c. 1900.",
        ),
        ("{| class=x\n| a || b\n{| inner\n|}\n|}\nReal text.", "Real text."),
        ("E = <math>mc^2</math> is known.", "E = is known."),
        ("a&nbsp;b &amp; c &ndash; d<br/>Next line.", "a b & c – d\n\nNext line."),
        ("Albania ({{IPAc-en|x}}; {{lang|sq|Shqipëri}}) is.", "Albania (Shqipëri) is."),
        ("Asphalt ({{a}}, {{b}}, occasionally) is.", "Asphalt (occasionally) is."),
        ("Adobe ({{IPA-x|y}}) is mud.", "Adobe is mud."),
        ("* An item\n# Another item\n: Indented text", "An item\n\nAnother item\n\nIndented text"),
        ("__NOTOC__Real text.", "Real text."),
    ],
)
def test_markup_leaves_its_words(markup, prose):
    assert plain(markup) == prose


def test_headings_stay_with_their_text_and_go_without():
    markup = "Lead text.\n== Empty ==\n== Full ==\nSome text.\n=== Deeper ===\nMore text."
    assert plain(markup).split("\n\n") == ["Lead text.", "Full", "Some text.", "Deeper", "More text."]


def test_appendices_go_with_everything_below_them():
    markup = "Lead text.\n== References ==\nA reference.\n=== Notes ===\nA note.\n== Legacy ==\nReal text."
    assert plain(markup).split("\n\n") == ["Lead text.", "Legacy", "Real text."]


@pytest.mark.parametrize("opening", ["{{ open ", "[[ open ", "{| open\n", "<ref> open "])
def test_markup_that_is_never_closed_loses_nothing_before_it(opening):
    prose = plain("Before it. " + opening * 2_000)
    assert prose.startswith("Before it.")
    assert len(prose) <= len("Before it. " + opening * 2_000)


DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<page><title>One</title><ns>0</ns><revision><text>First '''article'''.</text></revision></page>
<page><title>Uno</title><ns>0</ns><redirect title="One" />
<revision><text>#REDIRECT [[One]]</text></revision></page>
<page><title>Talk:One</title><ns>1</ns><revision><text>Gossip here.</text></revision></page>
<page><title>Zwei</title><ns>0</ns><revision><text>Second &amp;amp; last.</text></revision></page>
</mediawiki>"""


def test_dump_gives_articles_without_redirects_and_talk():
    assert list(articles(io.BytesIO(DUMP.encode()))) == [
        ("One", "First article."),
        ("Zwei", "Second & last."),
    ]
