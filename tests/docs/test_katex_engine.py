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


def test_fonts_are_woff2_and_all_there(tmp_path):
    katex_engine.copy_assets(tmp_path)
    css = (tmp_path / "katex.css").read_text()
    urls = set(re.findall(r"url\(([^)]*)\)", css))
    within = {url for url in urls if url.startswith("data:font/woff2;base64,")}
    assert len(within) == len(katex_engine.WITHIN_STYLES)
    assert all(url.endswith(".woff2") and (tmp_path / url).is_file() for url in urls - within)
    assert len(list((tmp_path / "fonts").iterdir())) == len(urls - within)
    assert "http" not in css
    assert (tmp_path / "LICENSE").is_file()
