from fontTools.pens.recordingPen import RecordingPen
from fontTools.ttLib import TTFont
from icon_font import FONTS, OF_STYLES, THEME, code_points, shrink

CSS = (THEME / "styles/pydata-sphinx-theme.css").read_text()
KNOWN = code_points(CSS)  # takes a while
SOLID = THEME / FONTS / "fa-solid-900.woff2"


def drawn(font, code):
    """The strokes of a glyph."""
    pen = RecordingPen()
    font.getGlyphSet()[font.getBestCmap()[code]].draw(pen)
    return pen.value


def test_style_sheet_says_where_each_icon_is():
    assert KNOWN["house"] == 0xF015
    assert KNOWN["magnifying-glass"] == KNOWN["search"] == 0xF002


def test_icons_that_the_style_sheet_itself_shows_are_found():
    assert KNOWN["download"] in map(ord, OF_STYLES.findall(CSS))


def test_small_font_draws_the_wanted_icons_as_the_whole_one_and_no_others(tmp_path):
    wanted = {KNOWN["house"], KNOWN["moon"]}
    target = tmp_path / "small.woff2"
    shrink(SOLID, wanted, target)
    with TTFont(target) as small, TTFont(SOLID) as whole:
        assert KNOWN["sun"] in whole.getBestCmap()
        assert set(small.getBestCmap()) == wanted
        assert all(drawn(small, code) == drawn(whole, code) != [] for code in wanted)
    assert target.stat().st_size < SOLID.stat().st_size / 50
