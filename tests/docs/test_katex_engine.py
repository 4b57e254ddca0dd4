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
    assert all(url.endswith(".woff2") and (tmp_path / url).is_file() for url in urls)
    assert len(list((tmp_path / "fonts").iterdir())) == len(urls)
    assert {f"fonts/{font}.woff2" for font in katex_engine.FONTS_OF_ALL} <= urls
    assert "http" not in css
    assert (tmp_path / "LICENSE").is_file()
