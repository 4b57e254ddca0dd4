import re

import katex_engine
import pytest

pytestmark = pytest.mark.usefixtures("katex")


def test_formula_is_rendered_with_the_macros_of_the_site():
    html = katex_engine.render(r"\half", {r"\half": r"\frac{1}{2}"}, display=False)
    assert '<annotation encoding="application/x-tex">\\half</annotation>' in html
    assert "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in html


def test_engine_refuses_what_latex_would_not_read():
    with pytest.raises(ValueError, match="strict mode"):
        katex_engine.render("é", {}, display=False)


def test_marks_are_for_the_eye_alone():
    plain = katex_engine.render("x_i", {}, display=True)
    html = katex_engine.render("x_i", {}, display=True, marked=r"\htmlData{s=x}{x_i}")
    assert html.count('data-s="x"') == 1
    assert (
        html.partition(katex_engine.FOR_THE_EYE)[0] == plain.partition(katex_engine.FOR_THE_EYE)[0]
    )
    assert re.sub(r"</?span\b[^>]*>", "", html) == re.sub(r"</?span\b[^>]*>", "", plain)


def test_pages_may_not_mark_and_marks_may_not_do_more():
    with pytest.raises(ValueError, match="strict mode"):
        katex_engine.render(r"\htmlData{s=x}{x}", {}, display=False)
    for command in (r"\htmlClass{mine}{x}", r"\htmlId{mine}{x}", r"\href{https://mine}{x}"):
        html = katex_engine.render("x", {}, display=False, marked=command)
        assert not re.search(r'(class|id|href)="[^"]*mine', html)


def test_fonts_are_woff2_and_all_there(tmp_path):
    katex_engine.copy_assets(tmp_path)
    css = (tmp_path / "katex.css").read_text()
    urls = set(re.findall(r"url\(([^)]*)\)", css))
    assert all(url.endswith(".woff2") and (tmp_path / url).is_file() for url in urls)
    assert len(list((tmp_path / "fonts").iterdir())) == len(urls)
    assert {f"fonts/{font}.woff2" for font in katex_engine.FONTS_OF_ALL} <= urls
    assert "http" not in css
    assert (tmp_path / "LICENSE").is_file()
