import pytest
import search_engine

pytestmark = pytest.mark.usefixtures("minisearch")


def test_engine_is_written_with_its_licence(tmp_path):
    search_engine.copy_assets(tmp_path)
    assert "global.MiniSearch = factory()" in (tmp_path / "minisearch.js").read_text()
    assert "Permission is hereby granted" in (tmp_path / "minisearch-LICENSE.txt").read_text()


def test_stemmer_follows_what_it_needs(tmp_path):
    search_engine.copy_assets(tmp_path)
    stemmer = (tmp_path / "stemmer.js").read_text()
    assert 0 <= stemmer.index("BaseStemmer=") < stemmer.index("EnglishStemmer=")
