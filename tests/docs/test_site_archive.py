import os
import zipfile

import site_archive


def test_archive_has_the_files_and_the_same_bytes_whenever_they_were_written(tmp_path):
    site = tmp_path / "html"
    (site / "_static").mkdir(parents=True)
    for name in ("index.html", "_static/a.css", "_static/a.js.map", ".buildinfo"):
        (site / name).write_text(name)
    one, other = tmp_path / "site.zip", tmp_path / "other" / "site.zip"
    other.parent.mkdir()
    site_archive.write(site, one)
    os.utime(site / "index.html", (1, 1))
    site_archive.write(site, other)
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as packed:
        assert packed.namelist() == ["site/_static/a.css", "site/index.html"]
        assert packed.read("site/index.html") == b"index.html"


def test_date_is_that_of_the_build(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("")
    site_archive.write(tmp_path / "html", tmp_path / "site.zip")
    with zipfile.ZipFile(tmp_path / "site.zip") as packed:
        assert packed.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)
